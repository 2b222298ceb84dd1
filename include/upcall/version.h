/* SPDX-License-Identifier: MIT */
/*
 * The version that a program was compiled against: for #if, and for what it prints about itself.
 * Within one major number (within one minor number as long as major is 0) what compiled goes on to.
 */
#ifndef UPCALL_VERSION_H
#define UPCALL_VERSION_H

#define UPCALL_VERSION_MAJOR 0
#define UPCALL_VERSION_MINOR 1
#define UPCALL_VERSION_PATCH 0

#endif

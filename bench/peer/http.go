// SPDX-License-Identifier: MIT

// Contender: Go's net/http. Files are kept in memory and looked at again once a second, as the other
// two do; http.FileServer, which opens the file for each request, costs more.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

type file struct {
	body     []byte
	modified time.Time
	header   string
	looked   time.Time
}

type files struct {
	sync.RWMutex
	dir  string
	kept map[string]*file
}

func (fs *files) get(name string) *file {
	now := time.Now()
	fs.RLock()
	f := fs.kept[name]
	fs.RUnlock()
	if f != nil && now.Sub(f.looked) < time.Second {
		return f
	}
	at := filepath.Join(fs.dir, filepath.FromSlash(path.Clean("/"+name)))
	st, err := os.Stat(at)
	if err != nil || !st.Mode().IsRegular() {
		return nil
	}
	next := &file{modified: st.ModTime(), looked: now, header: st.ModTime().UTC().Format(http.TimeFormat)}
	if f != nil && f.modified.Equal(next.modified) {
		next.body = f.body
	} else if next.body, err = os.ReadFile(at); err != nil {
		return nil
	}
	fs.Lock()
	fs.kept[name] = next
	fs.Unlock()
	return next
}

func (fs *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := fs.get(r.URL.Path)
	if f == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(f.body)))
	h.Set("Last-Modified", f.header)
	w.Write(f.body)
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err == nil {
		err = http.Serve(l, &files{dir: os.Args[2], kept: map[string]*file{}})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

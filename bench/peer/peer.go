// SPDX-License-Identifier: MIT

// Contender: Go. The text of body.h once more, in the one language that cannot include it; what that
// one says of the rows and of the line protocol holds here.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	batch      = 1000
	blockEvery = 64
	lockers    = 8
	hogsPer    = 8
	heldEvery  = 16
	pipeEvery  = 100
	touchSz    = 2048
	// A goroutine's stack is as small as that: body.h's distance would take in its neighbours.
	nearSz = 256
)

type outcome struct {
	ns, ops uint64
}

type event chan struct{}

func newEvent() event      { return make(event, 1) }
func (e event) signal()    { e <- struct{}{} }
func (e event) wait()      { <-e }
func now() uint64          { return uint64(time.Since(start)) }
func fail(why string)      { failure.Store(why) }
func frame(p *int) uintptr { return uintptr(unsafe.Pointer(p)) }

var (
	start       = time.Now()
	vcores      int
	sharedStack uint32
	failure     atomic.Value
)

type slot struct {
	frame                 uintptr
	ran                   uint64
	arrived, hold, signal event
}

//go:noinline
func (s *slot) check() {
	var x int
	if frame(&x)-s.frame+nearSz < 2*nearSz {
		atomic.AddUint32(&sharedStack, 1)
	}
	s.ran++
}

func nullBody(s *slot, wg *sync.WaitGroup) {
	s.check()
	wg.Done()
}

func blockingBody(s *slot, wg *sync.WaitGroup) {
	s.check()
	if s.arrived != nil {
		s.arrived.signal()
	}
	if s.hold != nil {
		s.hold.wait()
	}
	if s.signal != nil {
		s.signal.signal()
	}
	wg.Done()
}

func runChains(fn func(n uint64), nr int, n uint64) uint64 {
	var wg sync.WaitGroup
	from := now()
	wg.Add(nr)
	for i := 0; i < nr; i++ {
		go func() {
			fn(n)
			wg.Done()
		}()
	}
	wg.Wait()
	return now() - from
}

func createJoin(n uint64) {
	var x int
	var wg sync.WaitGroup
	s := &slot{frame: frame(&x)}
	b := &slot{frame: frame(&x), arrived: newEvent(), hold: newEvent()}
	for i := uint64(0); i < n; i++ {
		wg.Add(1)
		if i%blockEvery == blockEvery-1 {
			go blockingBody(b, &wg)
			b.arrived.wait()
			b.hold.signal()
			wg.Wait()
			s.ran += b.ran
			b.ran = 0
			continue
		}
		go nullBody(s, &wg)
		wg.Wait()
	}
	if s.ran != n {
		fail("create_join: a body did not run")
	}
}

func rowCreateJoin(n uint64) outcome {
	return outcome{runChains(createJoin, vcores, n), n * uint64(vcores)}
}

func nullFork(n uint64) {
	var x int
	var wg sync.WaitGroup
	s := make([]slot, batch)
	for i := range s {
		s[i].frame = frame(&x)
	}
	for i := 0; i+blockEvery <= batch; i += blockEvery {
		a, b := newEvent(), newEvent()
		s[i+10].hold, s[i+11].signal = a, a
		s[i+41].hold, s[i+40].signal = b, b
	}
	for k := uint64(0); k < n; k++ {
		for i := range s {
			wg.Add(1)
			if s[i].hold != nil || s[i].signal != nil {
				go blockingBody(&s[i], &wg)
			} else {
				go nullBody(&s[i], &wg)
			}
		}
		wg.Wait()
	}
	for i := range s {
		if s[i].ran != n {
			fail("null_fork: a body did not run")
		}
	}
}

func rowNullFork(n uint64) outcome {
	n = (n + batch - 1) / batch
	return outcome{runChains(nullFork, vcores, n), n * batch * uint64(vcores)}
}

type piped struct {
	slot
	from, to int
}

func pipeBody(p *piped, wg *sync.WaitGroup) {
	var c [1]byte
	p.check()
	if p.from >= 0 {
		if r, _ := syscall.Read(p.from, c[:]); r != 1 {
			fail("null_fork_pipe: read")
		}
	}
	if p.to >= 0 {
		if r, _ := syscall.Write(p.to, c[:]); r != 1 {
			fail("null_fork_pipe: write")
		}
	}
	wg.Done()
}

func nullForkPipe(n uint64) {
	var x int
	var wg sync.WaitGroup
	p := make([]piped, batch)
	for i := range p {
		p[i].frame = frame(&x)
		p[i].from, p[i].to = -1, -1
	}
	for i := 10; i < batch; i += pipeEvery {
		var fds [2]int
		if syscall.Pipe(fds[:]) != nil {
			fail("null_fork_pipe: pipe")
		}
		p[i].from, p[i+50].to = fds[0], fds[1]
	}
	for k := uint64(0); k < n; k++ {
		for i := range p {
			wg.Add(1)
			go pipeBody(&p[i], &wg)
		}
		wg.Wait()
	}
	for i := range p {
		if p[i].ran != n {
			fail("null_fork_pipe: a body did not run")
		}
		syscall.Close(p[i].from)
		syscall.Close(p[i].to)
	}
}

func rowNullForkPipe(n uint64) outcome {
	n = (n + batch - 1) / batch
	return outcome{runChains(nullForkPipe, vcores, n), n * batch * uint64(vcores)}
}

type yielder struct {
	slot
	done, moved uint64
	_           [80]byte
}

func yieldBody(y, other *yielder, n uint64, wg *sync.WaitGroup) {
	var seen uint64
	y.check()
	for i := uint64(1); i <= n; i++ {
		atomic.StoreUint64(&y.done, i)
		runtime.Gosched()
		at := atomic.LoadUint64(&other.done)
		if at != seen {
			y.moved++
		}
		seen = at
	}
	wg.Done()
}

func yieldChain(n uint64) {
	var x int
	var wg sync.WaitGroup
	var y [2]yielder
	for i := range y {
		y[i].frame = frame(&x)
	}
	wg.Add(2)
	go yieldBody(&y[0], &y[1], n, &wg)
	go yieldBody(&y[1], &y[0], n, &wg)
	wg.Wait()
	if y[0].ran+y[1].ran != 2 || y[0].done+y[1].done != 2*n {
		fail("yield: a body did not run")
	}
	if vcores == 1 && n > 1000 && y[0].moved+y[1].moved < n {
		fail("yield: the other one did not get its turn")
	}
}

func rowYield(n uint64) outcome {
	return outcome{runChains(yieldChain, vcores, n), n * 2 * uint64(vcores)}
}

func pingBody(s *slot, n uint64, mine, others event, first bool, wg *sync.WaitGroup) {
	s.check()
	if first {
		others.signal()
		n--
	}
	for i := uint64(0); i < n; i++ {
		mine.wait()
		others.signal()
	}
	if first {
		mine.wait()
	}
	wg.Done()
}

func pingChain(n uint64) {
	var x int
	var wg sync.WaitGroup
	s := [2]slot{{frame: frame(&x)}, {frame: frame(&x)}}
	a, b := newEvent(), newEvent()
	wg.Add(2)
	go pingBody(&s[0], n, a, b, true, &wg)
	go pingBody(&s[1], n, b, a, false, &wg)
	wg.Wait()
	if s[0].ran+s[1].ran != 2 {
		fail("signal_wait: a body did not run")
	}
}

func rowSignalWait(n uint64) outcome {
	return outcome{runChains(pingChain, vcores, n), n * 2 * uint64(vcores)}
}

func mutexFree(n uint64) {
	var m sync.Mutex
	var count uint64
	for i := uint64(0); i < n; i++ {
		m.Lock()
		count++
		m.Unlock()
	}
	if count != n {
		fail("mutex_free: a count is wrong")
	}
}

func rowMutexFree(n uint64) outcome {
	return outcome{runChains(mutexFree, vcores, n), n * uint64(vcores)}
}

func rowMutexContended(n uint64) outcome {
	var m sync.Mutex
	var counts [4]uint64
	var x int
	from := frame(&x)
	n = n/lockers + 1
	ns := runChains(func(n uint64) {
		s := slot{frame: from}
		s.check()
		for i := uint64(0); i < n; i++ {
			m.Lock()
			for j := range counts {
				counts[j]++
			}
			if i%heldEvery == 0 {
				runtime.Gosched()
			}
			m.Unlock()
		}
	}, lockers, n)
	for _, c := range counts {
		if c != n*lockers {
			fail("mutex_contended: a count is wrong")
		}
	}
	return outcome{ns, n * lockers}
}

func fib(n uint64, ret *uint64) {
	if n < 2 {
		*ret = n
		return
	}
	var a, b uint64
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		fib(n-1, &a)
		wg.Done()
	}()
	fib(n-2, &b)
	wg.Wait()
	*ret = a + b
}

func rowForkJoinSpawn(n uint64) outcome {
	var got uint64
	ns := runChains(func(n uint64) { fib(n, &got) }, 1, n)
	a, b := uint64(0), uint64(1)
	for i := uint64(0); i < n; i++ {
		a, b = b, a+b
	}
	if got != a {
		fail("fork_join_spawn: the sum is wrong")
	}
	if b == 1 {
		b = 2
	}
	return outcome{ns, b - 1}
}

func rss() uint64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "VmRSS:") {
			kb, _ := strconv.ParseUint(strings.Fields(line)[1], 10, 64)
			return kb * 1024
		}
	}
	return 0
}

//go:noinline
func touchStack() byte {
	var page [touchSz]byte
	for i := range page {
		page[i] = byte(i)
	}
	return page[len(os.Args)]
}

func crowd(n uint64, touch bool) outcome {
	var here uint64
	var wg sync.WaitGroup
	all := newEvent()
	goes := make([]event, n)
	for i := range goes {
		goes[i] = newEvent()
	}
	before := rss()
	wg.Add(int(n))
	for i := range goes {
		go func(e event) {
			if touch {
				touchStack()
			}
			if atomic.AddUint64(&here, 1) == n {
				all.signal()
			}
			e.wait()
			wg.Done()
		}(goes[i])
	}
	all.wait()
	after := rss()
	for i := range goes {
		goes[i].signal()
	}
	wg.Wait()
	if after < before {
		after = before
	}
	return outcome{after - before, n}
}

func rowBytes(n uint64) outcome        { return crowd(n, false) }
func rowBytesTouched(n uint64) outcome { return crowd(n, true) }

func rowPriorityP99(n uint64) outcome {
	var over uint32
	var hogs sync.WaitGroup
	nr := hogsPer * vcores
	hogs.Add(nr)
	for i := 0; i < nr; i++ {
		go func() {
			for atomic.LoadUint32(&over) == 0 {
			}
			hogs.Done()
		}()
	}
	late := make([]uint64, n)
	done := newEvent()
	go func() {
		due := now()
		for i := range late {
			due += 1000000
			if at := now(); at <= due {
				time.Sleep(time.Duration(due - at))
			}
			late[i] = now() - due
		}
		done.signal()
	}()
	done.wait()
	atomic.StoreUint32(&over, 1)
	hogs.Wait()
	sort.Slice(late, func(a, b int) bool { return late[a] < late[b] })
	return outcome{late[n*99/100], 1}
}

var rows = map[string]struct {
	run  func(n uint64) outcome
	warm bool
}{
	"create_join":               {rowCreateJoin, true},
	"null_fork":                 {rowNullFork, true},
	"null_fork_pipe":            {rowNullForkPipe, true},
	"yield":                     {rowYield, true},
	"signal_wait":               {rowSignalWait, true},
	"mutex_free":                {rowMutexFree, true},
	"mutex_contended":           {rowMutexContended, true},
	"fork_join_spawn":           {rowForkJoinSpawn, true},
	"parallel_for":              {nil, false},
	"bytes_per_uthread":         {rowBytes, false},
	"bytes_per_uthread_touched": {rowBytesTouched, false},
	"priority_p99":              {rowPriorityP99, false},
}

func answer(name string, n uint64) {
	row, ok := rows[name]
	if !ok {
		fmt.Println("failed it does not know that row")
		return
	}
	if row.run == nil {
		fmt.Println("absent it has no parallel loop")
		return
	}
	if row.warm {
		row.run(n/8 + 1)
	}
	sharedStack = 0
	o := row.run(n)
	if why := failure.Load(); why != nil {
		fmt.Println("failed", why)
		return
	}
	own := 1
	if sharedStack != 0 {
		own = 0
	}
	fmt.Println("done", o.ns, o.ops, own)
}

func main() {
	var err error
	if len(os.Args) > 1 {
		vcores, err = strconv.Atoi(os.Args[1])
	}
	if err != nil || vcores < 1 {
		fmt.Fprintln(os.Stderr, "usage:", os.Args[0], "VCORES")
		os.Exit(64)
	}
	syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, 9, 0)
	runtime.GOMAXPROCS(vcores)
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		word := strings.Fields(in.Text())
		if len(word) == 3 && word[0] == "run" {
			if n, err := strconv.ParseUint(word[2], 10, 64); err == nil && n > 0 {
				answer(word[1], n)
				continue
			}
		}
		fmt.Println("failed what?")
	}
}

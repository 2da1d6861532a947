package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// jumpingProgram is signalrd with a clock that jumps: what tells the time is exchanged
// when it is built, for something that adds as many seconds as a file says. The
// monotonic clock goes on as ever, as when somebody sets a machine's clock.
const jumpingProgram = "jumping-signalrd"

// clockVariable names that file.
const clockVariable = "CHAOS_CLOCK"

// jumper is added to the program.
const jumper = `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			text, err := os.ReadFile(os.Getenv("` + clockVariable + `"))
			if seconds, wrong := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && wrong == nil {
				time.Jump.Store(seconds)
			}
		}
	}()
}
`

// buildJumping builds it. The first time that takes a while: all of it depends on the
// time. Then go has it in its cache.
var buildJumping = sync.OnceValue(func() error {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find out where Go is: %w", err)
	}
	// By a name of our own: where Go is a module that was downloaded, go lets nobody
	// replace what is in its folder.
	goroot := filepath.Join(programs, "go")
	if err := os.Symlink(strings.TrimSpace(string(out)), goroot); err != nil {
		return err
	}
	clock := filepath.Join(goroot, "src", "time", "time.go")
	source, err := os.ReadFile(clock)
	if err != nil {
		return err
	}
	const reads = "	sec, nsec, mono := runtimeNow()\n"
	text := strings.Replace(string(source), reads, reads+"	sec += Jump.Load()\n", 1)
	text = strings.Replace(text, "import (\n", "import (\n	\"sync/atomic\"\n", 1) + "\n// Jump is by how many seconds the clock is wrong.\nvar Jump atomic.Int64\n"
	if !strings.Contains(string(source), reads) {
		return errors.New("this Go tells the time in another way: see how time.Now does, and say so in buildJumping")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{
		clock: filepath.Join(programs, "time.go.txt"), filepath.Join(root, "cmd", "signalrd", "jumper.go"): filepath.Join(programs, "jumper.go.txt"),
	}}
	list, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"time.go.txt": text, "jumper.go.txt": jumper, "overlay.json": string(list)} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	build := exec.Command(filepath.Join(goroot, "bin", "go"), "build", "-overlay", filepath.Join(programs, "overlay.json"), "-o", filepath.Join(programs, jumpingProgram), "signalrd/cmd/signalrd")
	build.Env = append(os.Environ(), "GOROOT="+goroot, "GOTOOLCHAIN=local")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", jumpingProgram, err, out)
	}
	return nil
})

// twoJumping is two signalrds whose clocks can jump.
func twoJumping(t *testing.T) *farm {
	if err := buildJumping(); err != nil {
		t.Fatal(err)
	}
	k := signalrd
	k.program = jumpingProgram
	dir := t.TempDir()
	k.environment = func(server int) []string { return []string{clockVariable + "=" + clockFile(dir, server)} }
	f := newFarm(t, k, 2, signedOnly(t)...)
	for i, s := range f.servers {
		s.jump = func(seconds int) error {
			path := clockFile(dir, i)
			if err := os.WriteFile(path+".new", []byte(strconv.Itoa(seconds)), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}
	}
	return f
}

func clockFile(dir string, server int) string { return filepath.Join(dir, fmt.Sprint("clock", server)) }

// jumpClocks has the clocks of servers jump an hour ahead, and back, and behind, of one
// and of both. Nobody takes that for an outage. A clock that is an hour wrong refuses
// what is signed now; one that is right again takes it.
func jumpClocks(r *run) {
	w := r.newWorker()
	all := r.listeners(w)
	wrong := make(map[*server]bool)
	jump := func(seconds int, servers ...*server) {
		for _, s := range servers {
			r.must("jump", s.jump(seconds))
			wrong[s] = seconds != 0
		}
		time.Sleep(1500 * time.Millisecond)
		r.expectNext(w, all, wrong)
	}
	const hour = 3600
	one, other := r.servers[0], r.servers[1]
	jump(hour, one)
	jump(0, one)
	jump(-hour, one)
	jump(0, one)
	jump(hour, one, other)
	jump(-hour, one)
	jump(0, one, other)
	for _, s := range r.servers {
		if n := s.count(lossLine); n > 0 {
			r.Errorf("%s took a jump of its clock for an outage %d times", s.name, n)
		}
	}
	for _, c := range all {
		c.close()
	}
}

// expectNext publishes a notification, and checks that it comes to all but those of
// servers whose clocks are wrong.
func (r *run) expectNext(w *worker, all []*receiver, wrong map[*server]bool) {
	r.Helper()
	r.must("publish", w.publish(r.Context()))
	for _, one := range all {
		if wrong[one.server] {
			continue
		}
		r.must("a notification after clocks have jumped", eventually(func() error {
			if n := one.highest(w.line); n < w.count.Load() {
				return fmt.Errorf("%s has %d, want %d; %s says\n%s", one.name, n, w.count.Load(), one.server.name, tail(one.server.Output()))
			}
			return nil
		}))
	}
	for _, one := range all {
		if n := one.highest(w.line); wrong[one.server] && n == w.count.Load() {
			r.Errorf("%s takes what is signed now with its clock an hour off", one.server.name)
		}
	}
}

// jumpInOutage has clocks jump back while Redis stands still, which is noticed in time
// all the same, and again while messages wait.
func jumpInOutage(r *run) {
	before := r.losses()
	r.store.Freeze()
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	for _, s := range r.servers {
		r.must("jump", s.jump(-3600))
	}
	r.awaitLosses(before)
	r.Logf("noticed %.1f s after the jump", time.Since(began).Seconds())
	for _, s := range r.servers {
		r.must("jump", s.jump(3600))
	}
	time.Sleep(time.Second)
	r.store.Thaw()
	r.traffic.awaitFlow()
	for _, s := range r.servers {
		r.must("jump", s.jump(0))
	}
}

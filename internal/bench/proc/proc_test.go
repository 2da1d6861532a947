package proc

import (
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 0 -1 4194560 10 0 0 0 123 45 6 7 20 0 8 0 99 1000 200 18446744073709551615 1"
	for name, want := range map[string]time.Duration{
		"17 (signalrd)" + rest:     1680 * time.Millisecond,
		"17 (a) b (c) 1 2)" + rest: 1680 * time.Millisecond,
		"17 (dotnet) S 1 2 3":      -1,
		"":                         -1,
		"17 (x) S 1 2 3 0 -1 4194560 10 0 0 0 many 45 6": -1,
	} {
		got, err := parseStat([]byte(name))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

func TestParseKilobytes(t *testing.T) {
	const status = "Name:\tx\nVmRSS:\t   1234 kB\nRssAnon:\t 1000 kB\nThreads:\t7\n"
	if n, err := parseKilobytes([]byte(status), "VmRSS:"); err != nil || n != 1234<<10 {
		t.Errorf("%d, %v", n, err)
	}
	for _, name := range []string{"Rss:", "Threads:"} {
		if n, err := parseKilobytes([]byte(status), name); err == nil {
			t.Errorf("%s: %d", name, n)
		}
	}
}

func TestParseLimit(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	for line, want := range map[string]int{
		"Max open files            1024                 4096                 files     \n": 1024,
		"Max open files            unlimited            unlimited            files     \n": int(^uint(0) >> 1),
		"Max processes             1024                 4096                 processes \n": -1,
	} {
		got, err := parseLimit([]byte(head + line))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", line, got, err)
		}
	}
}

func TestListening(t *testing.T) {
	const table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n" +
		"   1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1\n" +
		"   2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0\n"
	if got := listening(table, 5000); !slices.Equal(got, []string{"111"}) {
		t.Errorf("port 5000: %q", got)
	}
	if got := listening(table, 80); !slices.Equal(got, []string{"333"}) {
		t.Errorf("port 80: %q", got)
	}
}

func TestParseModel(t *testing.T) {
	if got := parseModel("processor\t: 0\nmodel name\t: Fast CPU: 2 GHz\n"); got != "Fast CPU: 2 GHz" {
		t.Errorf("%q", got)
	}
	if got := parseModel(""); got != "unknown" {
		t.Errorf("%q", got)
	}
}

// What the kernel says about the test itself.
func TestThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc here: run it on Linux")
	}
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after < before+3*Resolution; { // ends once the work shows
		if after, err = CPU(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	twice, err := CPU(os.Getpid(), os.Getpid())
	if err != nil || twice < 2*(before+3*Resolution) {
		t.Errorf("added up: %v, %v", twice, err)
	}
	block := make([]byte, 64<<20)
	small, err := Resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(block); i += 512 {
		block[i] = 1
	}
	large, err := Resident(os.Getpid())
	if err != nil || large < small+60<<20 {
		t.Errorf("resident memory went from %d to %d (%v) with %d more in use", small, large, err, len(block))
	}
	runtime.KeepAlive(block)
	if n, err := OpenFiles(os.Getpid()); err != nil || n < 10 {
		t.Errorf("open files: %d, %v", n, err)
	}
	open, err := Files(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := Files(os.Getpid()); err != nil || n != open+1 {
		t.Errorf("files: %d after %d, %v", n, open, err)
	}
	file.Close()
	if n, err := LocalPorts(); err != nil || n < 10 {
		t.Errorf("local ports: %d, %v", n, err)
	}
}

func TestListenerIsFound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc here: run it on Linux")
	}
	for _, network := range []string{"tcp4", "tcp"} {
		l, err := net.Listen(network, "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if pid, err := Listener(port); err != nil || pid != os.Getpid() {
			t.Errorf("%s: process %d, %v, want %d", network, pid, err, os.Getpid())
		}
		l.Close()
		if pid, _ := Listener(port); pid == os.Getpid() {
			t.Errorf("%s: still found when closed", network)
		}
	}
}

func TestProcessThatIsGone(t *testing.T) {
	const nobody = 1 << 30
	if _, err := CPU(nobody); err == nil {
		t.Error("it has used the processor")
	}
	if _, err := Resident(nobody); err == nil {
		t.Error("it uses memory")
	}
}

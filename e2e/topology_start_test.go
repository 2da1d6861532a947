package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// topology is what docker-compose.yml describes, as processes of this machine:
// the same programs with the same flags, variables and configuration files, in
// which only addresses and paths are replaced.
type topology struct {
	project *project
	redis   *peers.RedisServer
	servers []*composedServer
	url     string // of the balancer
}

// composedServer is a service of docker-compose.yml that is a signalrd.
type composedServer struct {
	*process
	name, addr string // host:port in docker compose, and here
	start      func() *process
}

// startComposed starts Redis and the servers.
func startComposed(t *testing.T) *topology {
	t.Helper()
	f := &topology{project: composeProject(t)}
	redis := f.project.Services["redis"]
	f.redis = peers.Redis(t, "--include", redis.mounted(t, redis.Command[1]))
	for _, name := range []string{"signalrd1", "signalrd2"} {
		f.servers = append(f.servers, f.startServer(t, name))
	}
	return f
}

func (f *topology) startServer(t *testing.T, name string) *composedServer {
	t.Helper()
	service := f.project.Services[name]
	port := service.Environment["SIGNALRD_LISTEN"]
	s := &composedServer{name: name + port, addr: fmt.Sprint("127.0.0.1:", peers.FreePort(t))}
	s.start = func() *process {
		command := program(t, "signalrd", service.Command...)
		command.Env = f.environment(t, service, port, s.addr)
		started := run(t, name, command)
		started.await(t, "its announcement", func(stdout, _ []string) bool { return len(stdout) > 5 })
		return started
	}
	s.process = s.start()
	health := program(t, "signalrd", "health") // as the Dockerfile has it
	health.Env = f.environment(t, service, port, s.addr)
	if out, err := health.CombinedOutput(); err != nil || string(out) != "ok\n" {
		t.Errorf("health of %s: %v: %s", name, err, out)
	}
	return s
}

// environment is that of a service, and of nobody else. Redis is elsewhere, and
// so is what pairs say.
func (f *topology) environment(t *testing.T, s *service, pairs ...string) (variables []string) {
	t.Helper()
	text := strings.NewReplacer(append(pairs, "@redis:6379", "@"+f.redis.Addr())...)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		variables = append(variables, name+"="+text.Replace(s.Environment[name]))
	}
	return variables
}

// behindNginx starts the service web, with the files of a folder as its page.
// Pairs of texts are replaced in its configuration.
func (f *topology) behindNginx(t *testing.T, page string, pairs ...string) {
	t.Helper()
	web := f.project.Services["web"]
	addr := fmt.Sprint("127.0.0.1:", peers.FreePort(t))
	pairs = append(pairs,
		fmt.Sprintf("listen %d;", web.Ports[0].Target), "listen "+addr+";",
		"/tmp/", t.TempDir()+"/",
		"/usr/share/nginx/html", page)
	for _, s := range f.servers {
		pairs = append(pairs, "~"+portOf(s.name)+"$", "~"+portOf(s.addr)+"$")
	}
	conf := f.configuration(t, web.mounted(t, "/etc/nginx/nginx.conf"), pairs...)
	command := exec.Command(peers.Nginx(t), append(web.Command[1:], "-p", t.TempDir(), "-c", conf)...)
	for i, argument := range command.Args {
		if argument == "daemon off;" && os.Getuid() == 0 {
			command.Args[i] += " user root;" // whose the folders of tests are
		}
	}
	f.serve(t, run(t, "nginx", command), addr)
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':'):] }

// configuration is a copy of a file in which the addresses of the servers are
// replaced by those that they have here, and more pairs of texts. Each must be
// there.
func (f *topology) configuration(t *testing.T, path string, pairs ...string) (replaced string) {
	t.Helper()
	for _, s := range f.servers {
		pairs = append(pairs, s.name, s.addr)
	}
	text := readFileAt(t, path)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s: there is no %q in it", path, pairs[i])
		}
	}
	return write(t, filepath.Base(path), strings.NewReplacer(pairs...).Replace(text))
}

// write puts a file where the test's are.
func write(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve waits until a balancer serves, and has it end in good order: nginx is
// several processes.
func (f *topology) serve(t *testing.T, balancer *process, addr string) {
	t.Helper()
	t.Cleanup(func() { balancer.terminate(t) })
	f.url = "http://" + addr
	for {
		answer, err := http.Get(f.url + "/")
		if err == nil {
			answer.Body.Close()
			return
		}
		select {
		case <-balancer.exited:
			t.Fatalf("%s ended", balancer.name)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startWorker starts the service worker.
func (f *topology) startWorker(t *testing.T) *process {
	t.Helper()
	s := f.project.Services["worker"]
	script := strings.NewReplacer("$$", "$", "/worker.sh", s.mounted(t, "/worker.sh")).Replace(s.Command[2])
	command := exec.Command(s.Command[0], s.Command[1], script)
	command.Env = append(f.environment(t, s), "PATH="+os.Getenv("PATH"))
	kill := group(command)
	worker := run(t, "worker", command)
	t.Cleanup(kill) // and what it sleeps with
	return worker
}

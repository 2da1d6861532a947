package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// project is docker-compose.yml, as docker compose reads it.
type project struct {
	Services map[string]*service
	Networks map[string]struct{ Internal bool }
}

type service struct {
	Image       string
	Build       *struct{ Target string }
	Command     []string
	Environment map[string]string
	Volumes     []struct{ Source, Target string }
	Ports       []struct {
		HostIP    string `json:"host_ip"`
		Published string
		Target    int
	}
	Networks    map[string]any
	HealthCheck *struct{ Test []string }
	User        string
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
}

func composeProject(t *testing.T) *project {
	t.Helper()
	p := new(project)
	if err := json.Unmarshal(peers.Compose(t, repository(t)), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// mounted is the file on this machine that a container sees under a path.
func (s *service) mounted(t *testing.T, path string) string {
	t.Helper()
	for _, volume := range s.Volumes {
		if volume.Target == path {
			return volume.Source
		}
	}
	t.Fatalf("no volume is mounted as %s", path)
	return ""
}

// What docker compose makes of the file holds together, as far as that can be
// told without starting it; TestTopology starts the same.
func TestComposeFile(t *testing.T) {
	p := composeProject(t)
	dockerfile := readFile(t, "Dockerfile")
	for name, s := range p.Services {
		for _, volume := range s.Volumes {
			if info, err := os.Stat(volume.Source); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: the volume %s is no file (%v)", name, volume.Source, err)
			}
		}
		if s.Build != nil && !strings.Contains(dockerfile, " AS "+s.Build.Target+"\n") {
			t.Errorf("%s: the Dockerfile has no target %s", name, s.Build.Target)
		}
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the version of the image %s is not exact", name, s.Image)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: it may more than it needs: read_only %v, cap_drop %v", name, s.ReadOnly, s.CapDrop)
		}
		for _, port := range s.Ports {
			if name != "web" || port.HostIP != "127.0.0.1" {
				t.Errorf("%s can be reached from outside: %+v", name, port)
			}
		}
	}
	if _, open := p.Services["redis"].Networks["front"]; open || !p.Networks["inside"].Internal {
		t.Error("Redis is in a network that leads outside")
	}
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		if from[1] != "scratch" && !pinned.MatchString(from[1]) {
			t.Errorf("Dockerfile: the version of the image %s is not exact", from[1])
		}
	}
}

// pinned is an image of an exact version.
var pinned = regexp.MustCompile(`^[a-z]+:\d+\.\d+\.\d+-alpine$`)

// The rights of the servers are those that docs/redis.md says, and gives reasons
// for.
func TestRedisUsersAreTheDocumented(t *testing.T) {
	_, after, _ := strings.Cut(readFile(t, "docs", "redis.md"), "One Redis:\n\n    user signalrd on >PASSWORD ")
	documented, _, _ := strings.Cut(after, "\n")
	for line := range strings.Lines(readFile(t, "deploy", "redis.conf")) {
		if rights, ok := strings.CutPrefix(line, "user signalrd on >change-me-signalrd "); ok {
			if strings.TrimSpace(rights) != documented {
				t.Errorf("deploy/redis.conf has\n%swhere docs/redis.md has\n%s", rights, documented)
			}
			return
		}
	}
	t.Error("deploy/redis.conf has no user signalrd")
}

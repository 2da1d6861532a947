package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// troubles provoke what docs/troubleshooting.md is about, by its headings. Each
// returns what is to be seen until now, in consoles, logs and answers.
var troubles = map[string]func(*testing.T) sight{
	"A page may not connect: CORS":                       foreignOrigin,
	"The connection is not found: no sticky sessions":    noAffinity,
	"WebSockets do not come through":                     noUpgrades,
	"Polls are cut off by a proxy":                       shortPolls,
	"401":                                                badToken,
	"404":                                                wrongPath,
	"It does not start":                                  badStart,
	"Redis is away":                                      redisAway,
	"Redis refuses the password":                         wrongPassword,
	"Redis refuses a command or a channel: NOPERM":       missingRight,
	"Nobody gets a notification":                         nobodyHears,
	"Notifications come twice":                           twice,
	"A notification is refused":                          badNotification,
	"Users on other servers do not get messages":         otherHubName,
	"A method fails":                                     badMethod,
	"A connection ends when something large is sent":     messageTooLarge,
	"A client is dropped because it reads too slowly":    slowClient,
	"Everybody is disconnected when a server is updated": update,
}

// sight is what has been seen so far.
type sight func() []string

// TestTroubleshooting finds, for each heading of docs/troubleshooting.md, what is quoted
// below it as text in what is really seen. In a quotation … stands for what differs.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	sections := quotations(t)
	for _, heading := range slices.Sorted(maps.Keys(troubles)) {
		if _, ok := sections[heading]; !ok {
			t.Errorf("docs/troubleshooting.md has no section %q", heading)
		}
	}
	for heading, quoted := range sections {
		provoke, ok := troubles[heading]
		if !ok {
			t.Errorf("%q: what it is about is not provoked by this test", heading)
			continue
		}
		t.Run(heading, func(t *testing.T) {
			if len(quoted) == 0 {
				t.Error("nothing is quoted")
			}
			seen := provoke(t)
			for _, line := range quoted {
				awaitSight(t, seen, line)
			}
		})
	}
}

// awaitSight waits until a line can be seen.
func awaitSight(t *testing.T, seen sight, line string) {
	t.Helper()
	parts := strings.Split(line, "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	pattern := regexp.MustCompile(strings.Join(parts, ".*"))
	for deadline := time.Now().Add(patience); !slices.ContainsFunc(seen(), pattern.MatchString); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not seen: %s\nbut:\n%s", line, strings.Join(seen(), "\n"))
			return
		}
	}
}

// quotations are the lines that docs/troubleshooting.md quotes, by heading.
func quotations(t *testing.T) map[string][]string {
	t.Helper()
	all, heading, quoting := make(map[string][]string), "", false
	for line := range strings.Lines(readFile(t, "docs", "troubleshooting.md")) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "## "):
			heading = strings.TrimPrefix(line, "## ")
			all[heading] = nil
		case strings.HasPrefix(line, "```"):
			quoting = line == "```text"
		case quoting:
			all[heading] = append(all[heading], line)
		}
	}
	return all
}

// printed is what programs have printed.
func printed(programs ...*process) sight {
	return func() (lines []string) {
		for _, p := range programs {
			p.mu.Lock()
			lines = slices.Concat(lines, p.stdout, p.stderr)
			p.mu.Unlock()
		}
		return lines
	}
}

// and adds what does not change any more.
func (s sight) and(lines ...string) sight {
	return func() []string { return append(s(), lines...) }
}

func (s sight) String() string { return fmt.Sprint(s()) }

package doctor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	redis.SetLogger(nobody{})
	goleak.VerifyTestMain(m)
}

type nobody struct{}

func (nobody) Printf(context.Context, string, ...any) {}

// findings are what Run reported.
type findings struct {
	t     *testing.T
	all   []Finding
	worst Status
}

// look runs the doctor. What does not answer need not be waited for.
func look(t *testing.T, o Options) *findings {
	t.Helper()
	if o.HubName == "" {
		o.HubName = "ChatHub"
	}
	if o.NotifyChannel == "" {
		o.NotifyChannel = "notify.users"
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	f := &findings{t: t}
	f.worst = Run(t.Context(), o, func(one Finding) { f.all = append(f.all, one) })
	worst := OK
	for _, one := range f.all {
		worst = max(worst, one.Status)
		if one.Status != OK && one.Advice == "" {
			t.Errorf("nothing is advised: %+v", one)
		}
	}
	if worst != f.worst {
		t.Errorf("the worst is %v, and it says %v", worst, f.worst)
	}
	return f
}

// expect wants a finding like this one, with these texts and this advice.
func (f *findings) expect(status Status, check, text, advice string) {
	f.t.Helper()
	for _, one := range f.all {
		if one.Status == status && one.Check == check && strings.Contains(one.Text, text) && strings.Contains(one.Advice, advice) {
			return
		}
	}
	f.t.Errorf("not found: %v %s %q %q; but\n%s", status, check, text, advice, f)
}

// expectNo wants no finding of a check.
func (f *findings) expectNo(check string) {
	f.t.Helper()
	for _, one := range f.all {
		if one.Check == check {
			f.t.Errorf("it says %+v", one)
		}
	}
}

// expectOnly wants nothing but what is well, and these.
func (f *findings) expectOnly(wrong ...string) {
	f.t.Helper()
	var got []string
	for _, one := range f.all {
		if one.Status != OK {
			got = append(got, one.Status.String()+" "+one.Check)
		}
	}
	if strings.Join(got, ", ") != strings.Join(wrong, ", ") {
		f.t.Errorf("wrong are %q, want %q:\n%s", got, wrong, f)
	}
}

func (f *findings) String() string {
	var text strings.Builder
	for _, one := range f.all {
		Lines(&text, false)(one)
	}
	return text.String()
}

package hubs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
)

// keeper keeps what it is called with.
type keeper struct {
	hubs.Hub
	kept *kept
}

type kept struct {
	mu    sync.Mutex
	texts []string
	raws  []json.RawMessage
	names []*string
}

func (k *keeper) Keep(raw json.RawMessage, text string) {
	k.kept.mu.Lock()
	defer k.kept.mu.Unlock()
	k.kept.raws, k.kept.texts = append(k.kept.raws, raw), append(k.kept.texts, text)
}

func (k *keeper) Name(name *string) {
	k.kept.mu.Lock()
	defer k.kept.mu.Unlock()
	k.kept.names = append(k.kept.names, name)
}

// What a hub method was called with is its own, whatever is received into the
// same memory later.
func TestArgumentsStayAsTheyWere(t *testing.T) {
	var all kept
	s := hubtest.NewServer(t, func() hubs.Interface { return &keeper{kept: &all} }, nil)
	c := hubtest.Connect(t, s)
	var texts []string
	for i := range 50 {
		text := fmt.Sprintf("text %d", i)
		texts = append(texts, text)
		c.Invoke("Keep", map[string]string{"a": text}, text)
		c.Invoke("Name", text)
	}
	if !slices.Equal(all.texts, texts) {
		t.Errorf("texts: %q", all.texts)
	}
	for i, text := range texts {
		if want := fmt.Sprintf(`{"a":%q}`, text); string(all.raws[i]) != want || *all.names[i] != text {
			t.Errorf("%s and %q are kept, not %s", all.raws[i], *all.names[i], want)
		}
	}
}

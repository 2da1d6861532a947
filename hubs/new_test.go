package hubs

import "testing"

// A hub type that was only named serves like one whose hubs are made.
func TestNew(t *testing.T) {
	s, err := New[floodHub](nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newMemory("").connect(t, s)
	c.stream("1", "Flood", 1, 3)
	c.expect(t, `{"type":2,"invocationId":"1","item":"xxx"}`, `{"type":3,"invocationId":"1"}`)
	shutdown(t, s)
}

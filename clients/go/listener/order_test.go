package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestMessagesPrintInOrderOfArrival(t *testing.T) {
	const count = 1000
	var out strings.Builder
	r := receiver{&printer{w: &out, next: arrivals.Load()}}
	var want strings.Builder
	texts := make([]arrival, count)
	for i := range texts {
		argument := fmt.Sprintf(`"line\n%d"`, i)
		if i == 7 {
			argument = "null"
			fmt.Fprintln(&want, "System: null")
		} else {
			fmt.Fprintf(&want, "System: line %d\n", i)
		}
		if err := json.Unmarshal([]byte("{}"), new(arrival)); err == nil {
			t.Fatal("an object was taken for a text")
		}
		if err := json.Unmarshal([]byte(argument), &texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	rand.Shuffle(count, func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	var calls sync.WaitGroup
	for _, text := range texts {
		calls.Go(func() { r.ReceiveMessage("System", text) })
	}
	calls.Wait()
	if out.String() != want.String() {
		t.Errorf("printed out of order:\n%s", out.String())
	}
}

package hubs_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Streams go to clients, come from them, or both.
type Streams struct{ hubs.Hub }

// Countdown streams to the client, an item each time it yields. When the client cancels
// or leaves, ctx ends, and yield returns false.
func (s *Streams) Countdown(ctx context.Context, from int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		if from > 1000 {
			yield(0, hubs.Errorf("that takes too long"))
			return
		}
		for n := from; n > 0 && yield(n, nil); n-- {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}
}

// Average takes a stream from the client. The error is why it broke off.
func (s *Streams) Average(numbers iter.Seq2[float64, error]) (float64, error) {
	sum, n := 0.0, 0
	for number, err := range numbers {
		if err != nil {
			return 0, err
		}
		sum, n = sum+number, n+1
	}
	return sum / float64(n), nil
}

// Shout does both at once: it answers words as they come. A channel will do where it
// does not matter why it ends.
func (s *Streams) Shout(words <-chan string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range words {
			if !yield(strings.ToUpper(word)) {
				return
			}
		}
	}
}

func Example_streams() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	client := hubtest.Connect(t, hubtest.New[Streams](t, nil))

	for n := range hubtest.Stream[int](client, "Countdown", 3).All() {
		fmt.Println(n)
	}
	fmt.Println(hubtest.Stream[int](client, "Countdown", 3000).Failure())
	fmt.Println(hubtest.Invoke[float64](client, "Average", slices.Values([]float64{1, 2, 6})))
	for word := range hubtest.Stream[string](client, "Shout", slices.Values([]string{"hear", "hear"})).All() {
		fmt.Println(word)
	}
	// Output:
	// 3
	// 2
	// 1
	// An error occurred on the server while streaming results. HubException: that takes too long
	// 3
	// HEAR
	// HEAR
}

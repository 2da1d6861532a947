package main

import (
	"context"
	"iter"
	"strings"

	"signalrd/hubs"
)

// Streams to the client: return a channel or an iterator. From it: take one.
func (c *Chat) Shout(ctx context.Context, words <-chan string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range words {
			if !yield(strings.ToUpper(word)) {
				return
			}
		}
	}
}

// A result from a client.
func (c *Chat) Vote(ctx context.Context, connectionID string) (string, error) {
	return hubs.Invoke[string](ctx, c.Clients().Client(connectionID), "Vote", "yes or no?")
}

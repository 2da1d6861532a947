package hubs_test

import (
	"context"
	"fmt"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// logged prints each call of a hub method, and what became of it.
var logged = hubs.Filter{
	Invoke: func(ctx context.Context, call *hubs.Invocation, next func(context.Context) (any, error)) (any, error) {
		result, err := next(ctx)
		fmt.Printf("%s%v: %v, %v\n", call.Method, call.Arguments, result, err)
		return result, err
	},
}

// current turns away programs that are too old.
var current = hubs.Filter{
	Connect: func(ctx context.Context, hub hubs.Interface, next func(context.Context) error) error {
		if hub.(*Sums).Request().URL.Query().Get("version") != "2" {
			return hubs.Errorf("please update")
		}
		return next(ctx)
	},
}

// Sums has something to calculate.
type Sums struct{ hubs.Hub }

// Add adds.
func (s *Sums) Add(a, b int) int { return a + b }

func ExampleFilter() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Sums](t, &hubs.Options{Filters: []hubs.Filter{logged, current}})

	hubtest.Connect(t, server, hubtest.Query("version", "2")).Invoke("Add", 1, 2)
	hubtest.Connect(t, server).ExpectClose("Connection closed with an error. HubException: please update")
	// Output: Add[1 2]: 3, <nil>
}

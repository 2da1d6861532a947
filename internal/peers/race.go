//go:build race

package peers

// Race says whether the test, and what it builds, has the race detector.
const Race = true

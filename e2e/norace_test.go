//go:build !race

package e2e

// raceFlag builds the programs without the race detector, as users do.
func raceFlag() []string { return nil }

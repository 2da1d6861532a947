//go:build race

package e2e

// raceFlag builds the programs with the race detector when the tests have it.
func raceFlag() []string { return []string{"-race"} }

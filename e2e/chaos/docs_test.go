package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The table of the document is that of the scenarios.
func TestScenariosAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "chaos.md"))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| what happens | in the soak | what must hold, too |\n|---|---|---|\n")
	for _, s := range scenarios() {
		soak := map[bool]string{true: "yes", false: ""}[s.again]
		fmt.Fprintf(&table, "| %s | %s | %s |\n", s.name, soak, s.holds)
	}
	if !strings.Contains(string(text), table.String()) {
		t.Errorf("docs/chaos.md has another table than:\n%s", table.String())
	}
}

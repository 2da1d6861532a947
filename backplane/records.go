package backplane

import (
	"fmt"
	"math/bits"
	"slices"

	"signalrd/hubs/protocol"
)

// records is one message as bytes, framing included, by the index of the
// protocol. What no receiver needs is nil.
type records [][]byte

// protocolSet has a bit for the index of each protocol in it.
type protocolSet uint64

// everyProtocol is the set of the first n.
func everyProtocol(n int) protocolSet { return 1<<n - 1 }

// encode writes an invocation once for each protocol needed. Without an id, no
// answer is wanted. Nobody listening is no reason to overlook a bad argument: with
// none needed, the first is.
func encode(protocols []protocol.Protocol, needed protocolSet, id, method string, args []any) (records, error) {
	if needed == 0 {
		needed = 1
	}
	message := protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: method, Args: args}
	encoded := make(records, len(protocols))
	for ; needed != 0; needed &= needed - 1 {
		i := bits.TrailingZeros64(uint64(needed))
		record, err := protocols[i].Append(nil, &message)
		if err != nil {
			return nil, fmt.Errorf("encode %s as %s: %w", method, protocols[i].Name(), err)
		}
		encoded[i] = record
	}
	return encoded, nil
}

// manyNames is where a map becomes cheaper than looking back through a list.
const manyNames = 16

// unique returns the names without empty ones and repetitions, in order. It
// copies only if there is something to leave out.
func unique(names []string) []string {
	if len(names) == 1 && names[0] != "" {
		return names
	}
	if len(names) <= manyNames {
		return uniqueFew(names)
	}
	seen := make(map[string]struct{}, len(names))
	kept := make([]string, 0, len(names))
	for _, name := range names {
		if _, again := seen[name]; name == "" || again {
			continue
		}
		seen[name] = struct{}{}
		kept = append(kept, name)
	}
	return kept
}

func uniqueFew(names []string) []string {
	kept, copied := names[:0:0], false
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			if !copied {
				kept, copied = slices.Clone(names[:i]), true
			}
			continue
		}
		if copied {
			kept = append(kept, name)
		}
	}
	if !copied {
		return names
	}
	return kept
}

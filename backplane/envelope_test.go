package backplane

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"signalrd/internal/allocation"
)

// recorded is a payload that ASP.NET Core published, and what it means.
type recorded struct {
	Operation  string
	Channel    string
	Payload    string
	Invocation *struct {
		Excluded      []string
		Records       [][2]string // protocol, record in hex
		InvocationID  string
		ReturnChannel string
	}
	Command *struct {
		ID                int32
		Server            string
		Action            groupAction
		Group, Connection string
	}
	Ack        *int32
	Completion *struct{ Protocol, Record string } // record in hex
}

func reference(t testing.TB) []recorded {
	t.Helper()
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r recorded) envelope(t testing.TB) envelope {
	e := envelope{
		excluded:      r.Invocation.Excluded,
		invocationID:  r.Invocation.InvocationID,
		returnChannel: r.Invocation.ReturnChannel,
	}
	for _, pair := range r.Invocation.Records {
		e.records = append(e.records, labelled{pair[0], unhex(t, pair[1])})
	}
	return e
}

func TestReferencePayloads(t *testing.T) {
	for _, r := range reference(t) {
		t.Run(r.Operation, func(t *testing.T) {
			payload := unhex(t, r.Payload)
			switch {
			case r.Invocation != nil:
				checkEnvelope(t, payload, r.envelope(t))
			case r.Command != nil:
				c := r.Command
				checkCommand(t, payload, groupCommand{c.ID, c.Server, c.Action, c.Group, c.Connection})
			case r.Ack != nil:
				checkAck(t, payload, *r.Ack)
			case r.Completion != nil:
				checkCompletion(t, payload, labelled{r.Completion.Protocol, unhex(t, r.Completion.Record)})
			default:
				t.Fatal("the recording says nothing of what the payload means")
			}
		})
	}
}

func checkEnvelope(t *testing.T, payload []byte, want envelope) {
	t.Helper()
	if got := appendEnvelope(nil, &want); !bytes.Equal(got, payload) {
		t.Errorf("encoded\n%x, want\n%x", got, payload)
	}
	var got envelope
	if err := decodeEnvelope(payload, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.excluded)+len(want.excluded) == 0 {
		got.excluded, want.excluded = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
}

func checkCommand(t *testing.T, payload []byte, want groupCommand) {
	t.Helper()
	if got := appendGroupCommand(nil, want); !bytes.Equal(got, payload) {
		t.Errorf("encoded\n%x, want\n%x", got, payload)
	}
	if got, err := decodeGroupCommand(payload); err != nil || got != want {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
}

func checkAck(t *testing.T, payload []byte, want int32) {
	t.Helper()
	if got := appendAck(nil, want); !bytes.Equal(got, payload) {
		t.Errorf("encoded %x, want %x", got, payload)
	}
	if got, err := decodeAck(payload); err != nil || got != want {
		t.Errorf("decoded %d, %v, want %d", got, err, want)
	}
}

func checkCompletion(t *testing.T, payload []byte, want labelled) {
	t.Helper()
	if got := appendCompletion(nil, want); !bytes.Equal(got, payload) {
		t.Errorf("encoded %x, want %x", got, payload)
	}
	if got, err := decodeCompletion(payload); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
}

func TestIntegerWidths(t *testing.T) {
	for want, payload := range map[int32]string{
		7: "9107", 127: "917f", 128: "91cc80", 300: "91cd012c", 65536: "91ce00010000", -1: "91ff", -200: "91d1ff38",
	} {
		checkAck(t, unhex(t, payload), want)
	}
	for _, wide := range []string{
		"91cc07", "91cd0007", "91ce00000007", "91cf0000000000000007", "91d007", "91d10007", "91d200000007",
		"91d30000000000000007", "920708",
	} {
		if got, err := decodeAck(unhex(t, wide)); err != nil || got != 7 {
			t.Errorf("%s: %d, %v, want 7", wide, got, err)
		}
	}
}

// What a reader must take although nobody writes it.
func TestLenientReading(t *testing.T) {
	for name, payload := range map[string]string{
		"three elements":   "93 91a161 81a16bc40172 c0",
		"four, no channel": "94 91a161 81a16bc40172 c0 c0",
		"more elements":    "96 91a161 81a16bc40172 c0 c0 81c0c0 01",
		"bytes behind":     "92 91a161 81a16bc40172 0102",
		"str as record":    "92 91a161 81a16ba172",
		"bin as names":     "92 91c40161 81c4016bc40172",
		"wide headers":     "dc0002 dd00000001d90161 df00000001da00016bc5000172",
		"32 bit lengths":   "92 91db0000000161 81db000000016bc60000000172",
	} {
		var e envelope
		if err := decodeEnvelope(unhex(t, payload), &e); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := envelope{excluded: []string{"a"}, records: []labelled{{"k", []byte("r")}}}
		if !reflect.DeepEqual(e, want) {
			t.Errorf("%s: %+v, want %+v", name, e, want)
		}
	}
}

func TestLenientReadingOfCompletions(t *testing.T) {
	for name, payload := range map[string]string{
		"str as record": "92 a16b a172", "bin as name": "92 c4016b c40172", "more elements": "93 a16b c40172 c0", "wide": "dc0002 d9016b c600000001 72",
	} {
		got, err := decodeCompletion(unhex(t, payload))
		if want := (labelled{"k", []byte("r")}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestMalformedPayloads(t *testing.T) {
	for _, payload := range []string{
		"", "c0", "90", "9190", "92", "9290", "92c080", "9290c0", "929180", "9290 81a16b", "9290 81a16bc405aa", "9290 8101c400",
		"92 ddffffffff", "9290 dfffffffff", "92 91dbffffffff", "94 90 80", "94 90 80 a161", "94 90 80 01 01", "7b7d",
	} {
		var e envelope
		if err := decodeEnvelope(unhex(t, payload), &e); err == nil {
			t.Errorf("invocation %s was read as %+v", payload, e)
		}
	}
	for _, payload := range []string{
		"", "94 01 a1 73 01 a1 67", "95", "95a161", "9501", "9501a173", "9501a173a161", "9501a17301", "9501a17301a167", "9501a173cd0100a167a163",
	} {
		if c, err := decodeGroupCommand(unhex(t, payload)); err == nil {
			t.Errorf("group command %s was read as %+v", payload, c)
		}
	}
	for _, payload := range []string{"", "c0", "90", "91a16b", "92", "92 01 c40172", "92 a16b", "92 a16b 01", "92 a16b c40572", "92 a16b c6ffffffff"} {
		if c, err := decodeCompletion(unhex(t, payload)); err == nil {
			t.Errorf("completion %s was read as %+v", payload, c)
		}
	}
	for _, payload := range []string{"", "90", "91", "91a161", "91cf0000000100000000"} {
		if id, err := decodeAck(unhex(t, payload)); err == nil {
			t.Errorf("ack %s was read as %d", payload, id)
		}
	}
}

// A few bytes that claim to be billions of elements cost nothing.
func TestClaimsAllocateNothing(t *testing.T) {
	payloads := [][]byte{unhex(t, "92 ddffffffff a161"), unhex(t, "9290 dfffffffff a161c40161"), unhex(t, "92 91 c6ffffffff")}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, payload := range payloads {
		var e envelope
		if decodeEnvelope(payload, &e) == nil {
			t.Errorf("%x was read", payload)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<16 {
		t.Errorf("%d bytes allocated for %d payloads of a few bytes", grown, len(payloads))
	}
}

// A record cannot grow into what lies behind it.
func TestRecordsDoNotOverlap(t *testing.T) {
	payload := unhex(t, "9290 82 a16ac40161 a16dc40162")
	var e envelope
	if err := decodeEnvelope(payload, &e); err != nil {
		t.Fatal(err)
	}
	_ = append(e.records[0].record, "overwritten"...)
	if got := string(e.records[1].record); got != "b" {
		t.Errorf("the second record became %q", got)
	}
}

// FuzzDecode holds: what is read is written and read again without a change,
// and reading takes no more memory than a payload is worth, whatever lengths
// it claims.
func FuzzDecode(f *testing.F) {
	for _, r := range reference(f) {
		f.Add(unhex(f, r.Payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		allocation.Within(t, 4*(4<<10+64*len(payload)), func() {
			// Errors are for what comes below.
			_ = decodeEnvelope(payload, new(envelope))
			_, _ = decodeGroupCommand(payload)
			_, _ = decodeCompletion(payload)
			_, _ = decodeAck(payload)
		})
		var e envelope
		if decodeEnvelope(payload, &e) == nil {
			checkAgain(t, e)
		}
		if c, err := decodeGroupCommand(payload); err == nil {
			if again, err := decodeGroupCommand(appendGroupCommand(nil, c)); err != nil || again != c {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
		}
		if c, err := decodeCompletion(payload); err == nil {
			if again, err := decodeCompletion(appendCompletion(nil, c)); err != nil || again.protocol != c.protocol || !bytes.Equal(again.record, c.record) {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
		}
		if id, err := decodeAck(payload); err == nil {
			if again, err := decodeAck(appendAck(nil, id)); err != nil || again != id {
				t.Fatalf("%d became %d, %v", id, again, err)
			}
		}
	})
}

func checkAgain(t *testing.T, e envelope) {
	encoded := appendEnvelope(nil, &e)
	var again envelope
	if err := decodeEnvelope(encoded, &again); err != nil {
		t.Fatalf("%+v cannot be read again: %v", e, err)
	}
	if twice := appendEnvelope(nil, &again); !bytes.Equal(encoded, twice) {
		t.Fatalf("%x became %x", encoded, twice)
	}
}

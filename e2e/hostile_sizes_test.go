package e2e

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"signalrd/e2e/malformed"
)

const (
	tooLarge     = "InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions."
	cannotBind   = "InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."
	cannotInvoke = "Failed to invoke '%s' due to an error on the server. "
)

// Records that are as large, as deep or as long as can be, or claim to be
// (protocol §6.2, §7.1, §8.9).
func TestExtremeJSON(t *testing.T) {
	call := func(target, arguments string) string {
		return fmt.Sprintf(`{"type":1,"invocationId":"1","target":%q,"arguments":[%s]}`, target, arguments)
	}
	digits, letters := strings.Repeat("7", 30_000), strings.Repeat(`\u0041`, 5000)
	answered := func(result string) []string { return []string{`{"type":3,"invocationId":"1","result":` + result + `}`} }
	refused := func(target string) []string {
		return []string{`{"type":3,"invocationId":"1","error":"` + fmt.Sprintf(cannotInvoke, target) + cannotBind + `"}`}
	}
	s := besiege(t)
	for _, test := range []struct {
		name    string
		record  string
		answers []string
	}{
		{"100,000 deep", call("Echo", strings.Repeat("[", 100_000)), []string{"!" + tooLarge}},
		{"30,000 deep, open", call("Echo", strings.Repeat("[", 30_000)), []string{"!InvalidDataException: Error reading JSON."}},
		{"15,000 deep", call("EchoAny", strings.Repeat("[", 15_000)+strings.Repeat("]", 15_000)), []string{"!InvalidDataException: Error reading JSON."}},
		{"10,000 arrays", call("EchoAny", "["+strings.Repeat("[],", 10_000)+"[]]"), answered("[" + strings.Repeat("[],", 10_000) + "[]]")},
		{"10,000 arguments", call("Echo", strings.Repeat("1,", 10_000)+"1"),
			[]string{`{"type":3,"invocationId":"1","error":"` + fmt.Sprintf(cannotInvoke, "Echo") + `InvalidDataException: Invocation provides 10001 argument(s) but target expects 1."}`}},
		{"escapes", call("Echo", `"`+letters+`"`), answered(`"` + strings.Repeat("A", 5000) + `"`)},
		{"what stays escaped", call("Echo", `"`+strings.Repeat(`\u0001`, 5000)+`"`), answered(`"` + strings.Repeat(`\u0001`, 5000) + `"`)},
		{"digits", call("EchoAny", digits), answered(digits)},
		{"digits for an int", call("Add", digits+",1"), refused("Add")},
		{"exponent", call("Add", "1e"+digits+",1"), refused("Add")},
		{"the same member again", call("Echo", `"a"`)[:10] + strings.Repeat(`"target":"Nope",`, 1500) + call("Echo", `"b"`)[1:], answered(`"b"`)},
		{"one name in many cases", call("EchoAny", `{`+strings.Repeat(`"a":1,"A":2,`, 2500)+`"a":3}`), answered(`{` + strings.Repeat(`"a":1,"A":2,`, 2500) + `"a":3}`)},
		{"blanks", strings.Repeat(" ", 32_000) + `{"type":6}`, nil},
		{"as large as can be", call("Echo", `"`+strings.Repeat("x", 32_768-len(call("Echo", `""`))-1)+`"`), answered(`"` + strings.Repeat("x", 32_768-len(call("Echo", `""`))-1) + `"`)},
		{"one byte more", call("Echo", `"`+strings.Repeat("x", 32_768-len(call("Echo", `""`)))+`"`), []string{"!" + tooLarge}},
		{"1 MB", strings.Repeat("x", 1_000_000), []string{"!" + tooLarge}},
	} {
		for _, carrier := range carriers {
			if carrier.encoding == "json" {
				t.Run(carrier.transport+"/"+test.name, func(t *testing.T) {
					w := connectWire(t, s.url, carrier.transport, "json")
					w.play(t, malformed.Record{Content: test.record, Answers: test.answers})
					w.leave()
				})
			}
		}
	}
	s.lift(t, 64)
}

func TestExtremeMessagePack(t *testing.T) {
	call := func(target, arguments string) string {
		return "\x96\x01\x80\xa11" + string([]byte{0xa0 | byte(len(target))}) + target + arguments + "\x90"
	}
	array := func(n int) string { return string(binary.BigEndian.AppendUint32([]byte{0xdd}, uint32(n))) }
	refused := func(target, why string) []string {
		return []string{`[3,{},"1",1,"` + fmt.Sprintf(cannotInvoke, target) + why + `"]`}
	}
	deep := strings.Repeat("\x91", 30_000)
	s := besiege(t)
	for _, test := range []struct {
		name    string
		record  string
		answers []string
	}{
		{"30,000 deep", call("Echo", "\x91"+deep+"\xc0"), refused("Echo", cannotBind)},
		{"30,000 deep, open", call("Echo", "\x91"+deep), []string{"!InvalidDataException: Reading array length for 'streamIds' failed."}},
		{"30,000 deep for any", call("EchoAny", "\x91"+deep+"\xc0"), refused("EchoAny", cannotBind)},
		{"30,000 maps deep", call("EchoAny", "\x91"+strings.Repeat("\x81\xc0", 15_000)+"\xc0"), refused("EchoAny", cannotBind)},
		{"30,000 arguments", call("Echo", array(30_000)+strings.Repeat("\xc0", 30_000)), refused("Echo", "InvalidDataException: Invocation provides 30000 argument(s) but target expects 1.")},
		{"4 GB of text", call("Echo", "\x91\xdb\xff\xff\xff\xff"), refused("Echo", cannotBind)},
		{"4 GB of bytes", call("EchoComplex", "\x91\x81\xa5Bytes\xc6\xff\xff\xff\xff"), refused("EchoComplex", cannotBind)},
		{"4,294,967,295 numbers", call("EchoComplex", "\x91\x81\xa7Numbers"+array(1<<32-1)), refused("EchoComplex", cannotBind)},
		{"4,294,967,295 members", call("EchoComplex", "\x91\xdf\xff\xff\xff\xff"), refused("EchoComplex", cannotBind)},
		{"4,294,967,295 keys", call("EchoComplex", "\x91\x81\xa3Map\xdf\xff\xff\xff\xff"), refused("EchoComplex", cannotBind)},
		{"an extension of 4 GB", call("Echo", "\x91\xc9\xff\xff\xff\xff\xff"), refused("Echo", cannotBind)},
		{"as large as can be", call("Echo", "\x91\xda\x7f\xe7"+strings.Repeat("x", 32_743)), []string{`[3,{},"1",3,"` + strings.Repeat("x", 32_743) + `"]`}},
		{"one byte more", call("Echo", "\x91\xda\x7f\xf0"+strings.Repeat("x", 32_752)), []string{"!" + tooLarge}},
	} {
		for _, transport := range []string{"WebSockets", "LongPolling"} {
			t.Run(transport+"/"+test.name, func(t *testing.T) {
				w := connectWire(t, s.url, transport, "messagepack")
				w.play(t, malformed.Record{Content: test.record, Answers: test.answers})
				w.leave()
			})
		}
	}
	for _, transport := range []string{"WebSockets", "LongPolling"} {
		t.Run(transport+"/prefixes", func(t *testing.T) {
			for _, prefix := range []string{"\xff\xff\xff\xff\x0f", "\xff\xff\xff\xff\x08", "\xff\xff\xff\xff\xff\xff\xff\xff"} { // 4 GB, 2 GB, more
				w := connectWire(t, s.url, transport, "messagepack")
				w.send(t, prefix)
				w.expect(t, w.closing("FormatException: Messages over 2GB in size are not supported."))
				w.expectEnd(t)
				w.leave()
			}
			w := connectWire(t, s.url, transport, "messagepack")
			w.alive(t)
			w.send(t, "\xff\xff\xff\xff\x07") // 2 GB less a byte: of which this many may come
			w.send(t, strings.Repeat("x", 32_768-5))
			w.send(t, "x")
			w.expect(t, w.closing(tooLarge))
			w.expectEnd(t)
			w.leave()
		})
	}
	s.lift(t, 64)
}

package backplane

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

var (
	serverA = serverID(bytes.Repeat([]byte{0xaa}, 16))
	serverB = serverID(bytes.Repeat([]byte{0xbb}, 16))
)

const (
	hexA = "c410 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
	hexB = "c410 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb "
)

// frame is one frame in both forms.
type frame struct {
	what  string
	value any
	bytes string
}

var frames = []frame{
	{"probe", uint64(7), "92 00 07"},
	{"hello of a new server", hello{id: serverA, number: 1, heard: map[serverID]uint64{}, wanted: []uint32{}},
		"97 01 " + hexA + "01 00 00 80 c400"},
	{"hello", hello{id: serverA, number: 2, age: 1000, last: 300, heard: map[serverID]uint64{serverA: 1, serverB: 70000},
		wanted: []uint32{1, 0xfffefdfc}},
		"97 01 " + hexA + "02 cd03e8 cd012c 82 " + hexA + "01 " + hexB + "ce00011170 c408 00000001 fffefdfc"},
	{"hello for everything", hello{id: serverA, number: 3, heard: map[serverID]uint64{}}, "97 01 " + hexA + "03 00 00 80 c0"},
	{"answer", answer{id: serverB, number: 2, connection: 1, after: 9, next: 13,
		entries: []numbered{{10, "H:all", []byte{0x92, 0x90, 0x80}}, {12, "c", []byte{}}}},
		"97 02 " + hexB + "02 01 09 92 93 0a a5483a616c6c c403929080 93 0c a163 c400 0d"},
	{"part of an answer", answer{id: serverB, number: 2, connection: 1}, "97 02 " + hexB + "02 01 00 90 00"},
	{"resend", resend{id: serverB, connection: 4, entries: []numbered{{1, "c", []byte("m")}}}, "94 03 " + hexB + "04 91 93 01 a163 c4016d"},
	{"resend of nothing", resend{id: serverB, connection: 1}, "94 03 " + hexB + "01 90"},
	{"bye", serverA, "92 04 " + hexA},
}

func appendFrame(v any) []byte {
	switch v := v.(type) {
	case uint64:
		return appendProbe(nil, v)
	case hello:
		return appendHello(nil, v)
	case answer:
		return appendAnswer(nil, v)
	case resend:
		return appendResend(nil, v)
	case serverID:
		return appendBye(nil, v)
	}
	panic("no frame")
}

func decodeFrame(b []byte) (v any, err error) {
	kind, rest, err := decodeKind(b)
	if err != nil {
		return nil, err
	}
	switch kind {
	case probeFrame:
		return decodeProbe(rest)
	case helloFrame:
		return decodeHello(rest)
	case answerFrame:
		return decodeAnswer(rest)
	case resendFrame:
		return decodeResend(rest)
	case byeFrame:
		return decodeBye(rest)
	}
	return nil, nil
}

func TestFrames(t *testing.T) {
	for _, test := range frames {
		want := unhex(t, test.bytes)
		if got := appendFrame(test.value); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded\n%x, want\n%x", test.what, got, want)
		}
		if got, err := decodeFrame(want); err != nil || !reflect.DeepEqual(got, test.value) {
			t.Errorf("%s: decoded %+v (%v), want %+v", test.what, got, err, test.value)
		}
		for n := range want {
			if got, err := decodeFrame(want[:n]); err == nil {
				t.Errorf("%s: the first %d bytes were read as %+v", test.what, n, got)
			}
		}
	}
}

// What comes after is a later version's.
func TestFramesOfLaterVersions(t *testing.T) {
	for _, frame := range []string{"93 00 07 c0", "92 cc00 cf0000000000000007"} {
		if got, err := decodeFrame(unhex(t, frame)); err != nil || got != uint64(7) {
			t.Errorf("%s: %v, %v", frame, got, err)
		}
	}
	for _, frame := range []string{"92 05 c0", "92 cd0100 c0", "93 cfffffffffffffffff c0 c0"} {
		if got, err := decodeFrame(unhex(t, frame)); err != nil || got != nil {
			t.Errorf("%s: %v, %v", frame, got, err)
		}
	}
}

func TestMalformedFrames(t *testing.T) {
	for _, frame := range []string{
		"", "c0", "90", "91 00", "92 a0 00", "92 ff 00", "92 00 a0", "92 04 c401aa", "92 04 07",
		"94 03 " + hexA + "01 07", "94 03 " + hexA + "01 91 92 01 a163", "94 03 " + hexA + "01 91 93 a0 a163 c400",
		"94 03 " + hexA + "01 ddffffffff", "97 01 " + hexA + "03 00 00 dfffffffff",
		"97 01 " + hexA + "03 00 00 80 c403000001", "97 01 " + hexA + "03 00 00 80 c408 00000002 00000001",
		"97 01 " + hexA + "03 00 00 81 c401aa 01 c0",
	} {
		if got, err := decodeFrame(unhex(t, frame)); err == nil {
			t.Errorf("%s was read as %+v", frame, got)
		}
	}
}

func TestClaimsOfFramesAllocateNothing(t *testing.T) {
	claims := [][]byte{
		unhex(t, "94 03 "+hexA+"01 ddffffffff 93"), unhex(t, "97 01 "+hexA+"03 00 00 dfffffffff c410"),
		unhex(t, "97 01 "+hexA+"03 00 00 80 c6ffffffff"),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, claim := range claims {
		if got, err := decodeFrame(claim); err == nil {
			t.Errorf("%x was read as %+v", claim, got)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<16 {
		t.Errorf("%d bytes allocated for %d frames of a few bytes", grown, len(claims))
	}
}

func TestStamps(t *testing.T) {
	invocation := unhex(t, "92 91a161 81a16bc40172")
	want := unhex(t, "93 91a161 81a16bc40172 c418 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 000000000000012c")
	st := stamp{serverA, 300}
	stamped := appendStamped(nil, invocation, st)
	if !bytes.Equal(stamped, want) {
		t.Errorf("stamped\n%x, want\n%x", stamped, want)
	}
	if got, ok := readStamp(stamped); !ok || got != st {
		t.Errorf("read %v, %t", got, ok)
	}
	var with, without envelope
	if err := decodeEnvelope(stamped, &with); err != nil {
		t.Fatal(err)
	}
	if err := decodeEnvelope(invocation, &without); err != nil || !reflect.DeepEqual(with, without) {
		t.Errorf("with a stamp it is %+v, without %+v (%v)", with, without, err)
	}
	for _, payload := range []string{
		"", "93", "92 90 80", "93 90 80 c0", "93 90 80 c410 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "c418" + strings.Repeat("aa", 24),
		"94 90 80 " + hex.EncodeToString(want[len(want)-26:]), "93 90 80 c418 " + strings.Repeat("00", 24),
	} {
		if got, ok := readStamp(unhex(t, payload)); ok {
			t.Errorf("%s has the stamp %v", payload, got)
		}
	}
}

func FuzzFrames(f *testing.F) {
	for _, test := range frames {
		f.Add(unhex(f, test.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeFrame(b)
		if err != nil || v == nil {
			return
		}
		encoded := appendFrame(v)
		again, err := decodeFrame(encoded)
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%+v became %+v, %v", v, again, err)
		}
		if twice := appendFrame(again); !bytes.Equal(encoded, twice) {
			t.Fatalf("%x became %x", encoded, twice)
		}
	})
}

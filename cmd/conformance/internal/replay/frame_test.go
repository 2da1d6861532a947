package replay

import (
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"testing"
)

func TestPresent(t *testing.T) {
	const ping, ack = `{"type":6}`, `{"type":8,"sequenceId":1}`
	plain := records("{}" + separator + ping + separator + ping + separator + ack + separator + ping + separator)
	events := []frame{{data, ":\r\ndata: {}\x1e\r"}, {data, "\n\r\ndata: " + ping + "\x1e\r\n\r\n"}, {data, "data: \xc3"}, {data, "\xbc\x1e\r\n\r\n"}, {closed, "end"}}
	for _, c := range []struct {
		frames      []frame
		pings, acks bool
		want        []string
	}{
		{plain, false, false, []string{"{}"}},
		{plain, true, false, []string{"{}", ping}},
		{plain, false, true, []string{"{}", ack}},
		{plain, true, true, []string{"{}", ping, ack, ping}},
		{events, false, false, []string{`data ":\r\ndata: {}\u001eü\u001e\r\n\r\n"`, "closed end"}},
		{events, true, false, []string{`data ":\r\ndata: {}\u001e{\"type\":6}\u001eü\u001e\r\n\r\n"`, "closed end"}},
		{[]frame{{data, "data: " + ping + "\x1e\r\n\r\n"}}, false, false, nil},
		{[]frame{{packed, "[6]"}, {packed, "[8,1]"}, {packed, "[7]"}}, false, false, []string{"mp [7]"}},
	} {
		if got := present(c.frames, c.pings, c.acks); !slices.Equal(got, c.want) {
			t.Errorf("%q is shown as %q, want %q", c.frames, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	n := names{values: make(map[string]string)}
	n.learn("a.id", "first")
	n.learn("a.id", "second")
	n.learn("b.id", "")
	n.learnAsk("a", "s1")
	if got := n.show(`first second s1 ["s1","{\"s1\"}"]`); got != `${a.id} ${a.id} s1 ["${a.ask}","{\"${a.ask}\"}"]` {
		t.Errorf("shown %s", got)
	}
	if got, err := n.fill("${a.id}/${a.ask}$1"); got != "second/s1$1" || err != nil {
		t.Errorf("filled %s, %v", got, err)
	}
	if _, err := n.fill("${b.id}"); err == nil {
		t.Error("a name is filled in that nothing was learnt for")
	}
}

func TestAsked(t *testing.T) {
	const ask = `{"invocationId":"x","type":1,"target":"Ask"}`
	for _, c := range []struct {
		frame frame
		want  []string
	}{
		{frame{record, ask}, []string{"x"}},
		{frame{record, `{"type":3,"invocationId":"x"}`}, nil},
		{frame{record, `{"type":1,"target":"Message"}`}, nil},
		{frame{data, ":\r\ndata: {}\x1e\r\n\r\ndata: " + ask + separator + "\r\n\r\n"}, []string{"x"}},
		{frame{packed, `[1,{},"x","Ask",[]]`}, []string{"x"}},
		{frame{packed, `[1,{},null,"Message",[]]`}, nil},
		{frame{packed, `[3,{},"x",2]`}, nil},
	} {
		if got := c.frame.asked(); !slices.Equal(got, c.want) {
			t.Errorf("%s asks %q, want %q", c.frame, got, c.want)
		}
	}
}

func TestMask(t *testing.T) {
	mask := regexp.MustCompile(`text ([^"]*)"`)
	for text, want := range map[string]string{`"text of a reader" "text b"`: `"text ${any}" "text b"`, "other": "other"} {
		if got := hide(mask, text); got != want {
			t.Errorf("%s is hidden as %s, want %s", text, got, want)
		}
	}
}

// Messages in both directions: as JSON, and as bytes in hexadecimal digits.
var messages = []struct{ json, bytes string }{
	{`[6]`, "02" + "9106"},
	{`[1,{},null,"Echo",["x",true,1.5,-1,300],[]]`, "1b" + "960180c0a44563686f95a178c3cb3ff8000000000000ffcd012c90"},
	{`{"b":1,"a":[]}`, "07" + "82a16201a16190"},
}

func TestMessagePack(t *testing.T) {
	for _, m := range messages {
		got, err := pack([]json.RawMessage{json.RawMessage(m.json)})
		if err != nil || hex.EncodeToString(got) != m.bytes {
			t.Errorf("%s is packed as %x, %v, want %s", m.json, got, err, m.bytes)
		}
		b, err := hex.DecodeString(m.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if back := unpack(b); len(back) != 1 || canonicalFrame(back[0].String(), false) != canonicalFrame("mp "+m.json, false) {
			t.Errorf("%s is unpacked as %s, want %s", m.bytes, back, m.json)
		}
	}
	special, err := pack([]json.RawMessage{json.RawMessage(`[{"$bin":"0102"},{"$ext":-1,"data":"00000001"}]`)})
	if got := hex.EncodeToString(special); err != nil || got != "0b"+"92c4020102d6ff00000001" {
		t.Errorf("bytes and an extension are packed as %s, %v", got, err)
	}
	if got := unpack(special); len(got) != 1 || got[0].String() != `mp [{"bin":"0102"},{"data":"00000001","ext":-1}]` {
		t.Errorf("bytes and an extension are unpacked as %s", got)
	}
}

func TestUnpackTellsWhatIsNoMessage(t *testing.T) {
	for bytes, want := range map[string][]kind{
		"7b7d1e" + "029106": {binary, packed},
		"029106" + "ff":     {packed, broken},
		"039106":            {broken},
		"03910600":          {broken},
		"0192":              {broken},
		"01c1":              {broken},
	} {
		b, err := hex.DecodeString(bytes)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []kind
		for _, f := range unpack(b) {
			kinds = append(kinds, f.kind)
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("%s is %q, want %q", bytes, kinds, want)
		}
	}
}

package protocol

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Wherever a character stands in a string, in whose company, it is written and
// read as if it were alone.
func TestJSONCharactersInAnyPlace(t *testing.T) {
	runes := []rune{'é', '€', '😀', '\u2028', '\ufeff', utf8.RuneError}
	for r := rune(0); r < 0x180; r++ {
		runes = append(runes, r)
	}
	const plain = "plain text: 20 of it"
	for _, r := range runes {
		alone := strings.Trim(string(appendJSONString(nil, string(r))), `"`)
		if r == '"' {
			alone = `\"`
		}
		for before := range len(plain) {
			for _, after := range []string{"", "x", plain[:7], plain[:8], string(r), plain + string(r)} {
				s := plain[:before] + string(r) + after
				want := `"` + plain[:before] + alone + strings.ReplaceAll(after, string(r), alone) + `"`
				if strings.ContainsRune(plain, r) {
					want = `"` + s + `"`
				}
				if got := string(appendJSONString(nil, s)); got != want {
					t.Fatalf("%q is written %s, want %s", s, got, want)
				}
				var back string
				if err := JSON.Unmarshal(Raw(want), &back); err != nil || back != s {
					t.Fatalf("%s is read as %q, %v", want, back, err)
				}
			}
		}
	}
}

// What stands in a string as it is, is taken or refused as encoding/json does,
// wherever it stands.
func TestJSONBytesInAnyPlace(t *testing.T) {
	const plain = "plain text: 20 of it"
	for c := range 0x80 {
		for before := range len(plain) {
			for _, after := range []string{"", `"`, `x"`, plain[:7] + `"`, plain + `"`, `" `, `"` + plain} {
				raw := Raw(`"` + plain[:before] + string(rune(c)) + after)
				var got, want string
				err, wanted := JSON.Unmarshal(raw, &got), json.Unmarshal(raw, &want)
				if (err == nil) != (wanted == nil) || err == nil && got != want {
					t.Fatalf("%s is read as %q, %v; want %q, %v", raw, got, err, want, wanted)
				}
			}
		}
	}
}

// Pointers to scalars are written and read as by reflection, only faster.
func TestJSONNullables(t *testing.T) {
	text, number, large, fraction, yes := `"te\xt"`, -5, int64(1)<<60, 1e21, true
	for _, v := range []any{&text, &number, &large, &fraction, &yes} {
		for _, v := range []any{v, reflect.Zero(reflect.TypeOf(v)).Interface()} {
			value := any(nil)
			if p := reflect.ValueOf(v); !p.IsNil() {
				value = p.Elem().Interface()
			}
			got, err := appendJSONValue(nil, v)
			want, wanted := appendJSONValue(nil, value)
			if string(got) != string(want) || err != nil || wanted != nil {
				t.Errorf("%T is written %s, %v; want %s, %v", v, got, err, want, wanted)
			}
		}
		for _, raw := range []string{
			"null", " null ", "nul", "nullx", "null null", "n", "", " ", "true", " false", "-5", "5.5", "1e3", "9007199254740993", "99999999999999999999",
			`"text"`, ` "te\u0078t" `, `"\ud800"`, `"unended`, "[]", "{}", "[null]", "{", "5 5", "truely",
		} {
			got, want := reflect.New(reflect.TypeOf(v)), reflect.New(reflect.TypeOf(v))
			err, wanted := JSON.Unmarshal(Raw(raw), got.Interface()), unmarshalReflected(Raw(raw), want.Interface())
			if (err == nil) != (wanted == nil) || err == nil && !reflect.DeepEqual(got.Elem().Interface(), want.Elem().Interface()) {
				t.Errorf("%q is read as %s, %v; want %s, %v", raw, printed(got), err, printed(want), wanted)
			}
		}
	}
}

// printed is what a pointer to a pointer points to in the end.
func printed(v reflect.Value) string {
	if v = v.Elem(); !v.IsNil() {
		v = v.Elem()
	}
	return fmt.Sprintf("%T %v", v.Interface(), v.Interface())
}

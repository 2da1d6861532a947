package protocol

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// plainLen says how many bytes b starts with that stand for themselves inside
// a JSON string, whoever writes it: printable ASCII but quotes and backslashes.
// It looks at eight at a time, so the last few of b are the caller's to look at, as
// is what it stops at.
func plainLen(b []byte) (n int) {
	for ; len(b)-n >= 8; n += 8 {
		if special := specials(binary.LittleEndian.Uint64(b[n:])); special != 0 {
			return n + bits.TrailingZeros64(special)/8
		}
	}
	return n
}

// bytesOf are the bytes of s, which must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// specials has the highest bit set of the first byte of eight that is not plain, and
// perhaps of later ones.
func specials(eight uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	below := func(x, n uint64) uint64 { return (x - ones*n) &^ x }
	return (eight | below(eight, ' ') | below(eight^ones*'"', 1) | below(eight^ones*'\\', 1) | below(eight^ones*0x7F, 1)) & highs
}

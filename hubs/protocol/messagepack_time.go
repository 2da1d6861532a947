package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// timestampExtension is MessagePack's type for points in time (protocol §7.4).
const timestampExtension = -1

// The first and last second of the years 1 to 9999, all that DateTime knows.
const (
	firstSecond = -62135596800
	lastSecond  = 253402300799
)

// tick is the unit of .NET's TimeSpan.
const tick = 100 * time.Nanosecond

var errYears = errors.New("the time is not in the years 1 to 9999")

// appendTimestamp appends the shortest of the three forms: 32 bits of seconds;
// 30 of nanoseconds and 34 of seconds; 32 and 64.
func appendTimestamp(dst []byte, t time.Time) ([]byte, error) {
	s, ns := t.Unix(), uint64(t.Nanosecond())
	switch {
	case s < firstSecond || s > lastSecond:
		return nil, errYears
	case s < 0 || s >= 1<<34:
		dst = append(dst, 0xC7, 12, 0xFF)
		dst = binary.BigEndian.AppendUint32(dst, uint32(ns))
		return binary.BigEndian.AppendUint64(dst, uint64(s)), nil
	case ns > 0 || s > math.MaxUint32:
		dst = append(dst, 0xD7, 0xFF)
		return binary.BigEndian.AppendUint64(dst, ns<<34|uint64(s)), nil
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xD6, 0xFF), uint32(s)), nil
}

// time is the value of a timestamp, in UTC. Nanoseconds of a second and more
// carry over, as they do in .NET.
func (t msgpackToken) time() (time.Time, error) {
	if t.kind != msgpackExtension || t.ext != timestampExtension {
		return time.Time{}, unwantedMsgpack(t, "time.Time")
	}
	var s, ns int64
	switch len(t.body) {
	case 4:
		s = int64(binary.BigEndian.Uint32(t.body))
	case 8:
		both := binary.BigEndian.Uint64(t.body)
		s, ns = int64(both&(1<<34-1)), int64(both>>34)
	case 12:
		s, ns = int64(binary.BigEndian.Uint64(t.body[4:])), int64(binary.BigEndian.Uint32(t.body))
	default:
		return time.Time{}, fmt.Errorf("a timestamp of %d bytes", len(t.body))
	}
	if s < firstSecond || s > lastSecond {
		return time.Time{}, errYears
	}
	at := time.Unix(s, ns).UTC()
	if at.Unix() > lastSecond {
		return time.Time{}, errYears
	}
	return at, nil
}

// maxOffset is how many minutes a local clock may be ahead of UTC, or behind.
const maxOffset = 14 * 60

// time reads a timestamp, or a DateTimeOffset: what the local clock shows,
// taken as UTC, and how many minutes it is ahead.
func (r *msgpackReader) time() (time.Time, error) {
	t, err := r.next()
	if err != nil {
		return time.Time{}, err
	}
	if t.kind != msgpackArray || t.n != 2 {
		return t.time()
	}
	if t, err = r.next(); err != nil {
		return time.Time{}, err
	}
	clock, err := t.time()
	if err != nil {
		return time.Time{}, err
	}
	if t, err = r.next(); err != nil {
		return time.Time{}, err
	}
	minutes, ok := t.int64()
	if !ok || minutes < -maxOffset || minutes > maxOffset {
		return time.Time{}, errors.New("a time whose offset from UTC is no number of minutes up to 14 hours")
	}
	if minutes == 0 {
		return clock, nil
	}
	ahead := time.Duration(minutes) * time.Minute
	return clock.Add(-ahead).In(time.FixedZone("", int(ahead/time.Second))), nil
}

func appendDuration(dst []byte, d time.Duration) []byte {
	return appendMsgpackInt(dst, int64(d/tick))
}

// duration is the value of a number of ticks.
func (t msgpackToken) duration() (time.Duration, error) {
	n, ok := t.int64()
	switch {
	case !ok:
		return 0, unwantedMsgpack(t, "time.Duration")
	case n > math.MaxInt64/int64(tick) || n < math.MinInt64/int64(tick):
		return 0, errors.New("the number of ticks is out of bounds for a time.Duration")
	}
	return time.Duration(n) * tick, nil
}

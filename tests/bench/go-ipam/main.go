// The peer of the benchmark `allocator`: the same workloads as allocator.c's on go-ipam, with its
// storage in memory. The states are loaded as a dump, since what it costs to make them one by one
// grows with the square of their size. Single addresses are its IPs, blocks its child prefixes.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	ipam "github.com/metal-stack/go-ipam"
)

// A pass may change this share of what is live.
const passShare = 8

// Host bits of the blocks of the workloads with sizes, as in allocator.c.
var usualHostBits = []int{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8}

type workload struct {
	name      string
	scattered bool // every other address of twice as many is live, not the first ones
	sizes     bool // blocks, not addresses
	operation func(b *bench, index int) error
	restore   func(b *bench, done int) error
	// What the operation takes from: those that are live, or those that are free.
	from func(b *bench) []netip.Prefix
}

var workloads = []workload{
	{"fill", false, false, (*bench).allocate, (*bench).giveBackGiven, nil},
	{"fragmented", true, false, (*bench).allocate, (*bench).giveBackGiven, nil},
	{"free", true, false, (*bench).giveBackDrawn, (*bench).takeDrawn, (*bench).liveOnes},
	{"specific", true, false, (*bench).takeDrawnOne, (*bench).giveBackTaken, (*bench).spareOnes},
	{"sizes", true, true, (*bench).allocate, (*bench).giveBackGiven, nil},
	{"sizes_free", true, true, (*bench).giveBackDrawn, (*bench).takeDrawn, (*bench).liveOnes},
	{"sizes_specific", true, true, (*bench).takeDrawnOne, (*bench).giveBackTaken, (*bench).spareOnes},
}

type bench struct {
	workload workload
	random   *rand.Rand
	ipamer   ipam.Ipamer
	space    netip.Prefix
	blocks   []netip.Prefix // twice as many as are live; the first half is live
	live     int
	given    []netip.Prefix
	pass     int
	memory   uint64
	times    []time.Duration
}

type result struct {
	Workload   string `json:"workload"`
	Family     string `json:"family"`
	Operations int    `json:"operations"`
	P50        int64  `json:"p50"`
	P99        int64  `json:"p99"`
	P999       int64  `json:"p999"`
	Memory     uint64 `json:"memory"`
}

func (b *bench) liveOnes() []netip.Prefix  { return b.blocks[:b.live] }
func (b *bench) spareOnes() []netip.Prefix { return b.blocks[b.live:] }

func (b *bench) take(block netip.Prefix) error {
	var err error
	if b.workload.sizes {
		_, err = b.ipamer.AcquireSpecificChildPrefix(ctx(), b.space.String(), block.String())
	} else {
		_, err = b.ipamer.AcquireSpecificIP(ctx(), b.space.String(), block.Addr().String())
	}
	return err
}

func (b *bench) giveBack(block netip.Prefix) error {
	if !b.workload.sizes {
		return b.ipamer.ReleaseIPFromPrefix(ctx(), b.space.String(), block.Addr().String())
	}
	return b.ipamer.ReleaseChildPrefix(ctx(), &ipam.Prefix{Cidr: block.String(), ParentCidr: b.space.String()})
}

func (b *bench) allocate(index int) error {
	if !b.workload.sizes {
		address, err := b.ipamer.AcquireIP(ctx(), b.space.String())
		if err == nil {
			b.given[index] = netip.PrefixFrom(address.IP, address.IP.BitLen())
		}
		return err
	}
	length := b.space.Addr().BitLen() - usualHostBits[b.random.Intn(len(usualHostBits))]
	child, err := b.ipamer.AcquireChildPrefix(ctx(), b.space.String(), uint8(length))
	if err == nil {
		b.given[index] = netip.MustParsePrefix(child.Cidr)
	}
	return err
}

func (b *bench) giveBackDrawn(index int) error { return b.giveBack(b.liveOnes()[index]) }
func (b *bench) takeDrawnOne(index int) error  { return b.take(b.spareOnes()[index]) }

func (b *bench) giveBackGiven(done int) error { return each(b.given[:done], b.giveBack) }
func (b *bench) giveBackTaken(done int) error { return each(b.spareOnes()[:done], b.giveBack) }
func (b *bench) takeDrawn(done int) error     { return each(b.liveOnes()[:done], b.take) }

func each(blocks []netip.Prefix, do func(netip.Prefix) error) error {
	for _, block := range blocks {
		if err := do(block); err != nil {
			return err
		}
	}
	return nil
}

func ctx() context.Context { return context.Background() }

// at is the block at an offset from the start of the space.
func (b *bench) at(offset uint64, hostBits int) netip.Prefix {
	octets := b.space.Addr().AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		sum := uint64(octets[i]) + offset&0xff
		octets[i] = byte(sum)
		offset = offset>>8 + sum>>8
	}
	address, _ := netip.AddrFromSlice(octets)
	return netip.PrefixFrom(address, address.BitLen()-hostBits)
}

func (b *bench) layOut() {
	// The first address of a prefix, and the last of one of IPv4, are never given out by go-ipam.
	offset := uint64(1)
	for i := range b.blocks {
		hostBits := 0
		if b.workload.sizes {
			hostBits = usualHostBits[b.random.Intn(len(usualHostBits))]
		}
		size := uint64(1) << hostBits
		offset = (offset + size - 1) &^ (size - 1)
		b.blocks[i] = b.at(offset, hostBits)
		offset += size
	}
	if b.workload.scattered {
		b.shuffle(b.blocks, len(b.blocks))
	}
}

// shuffle brings count of the blocks to the front, at random.
func (b *bench) shuffle(blocks []netip.Prefix, count int) {
	for i := range count {
		other := i + b.random.Intn(len(blocks)-i)
		blocks[i], blocks[other] = blocks[other], blocks[i]
	}
}

// One prefix of a dump.
type dumped struct {
	Cidr                   string
	ParentCidr             string
	Namespace              string
	AvailableChildPrefixes map[string]bool
	IsParent               bool
	IPs                    map[string]bool
}

func (b *bench) dump(live []netip.Prefix) (string, error) {
	parent := dumped{
		Cidr:                   b.space.String(),
		AvailableChildPrefixes: map[string]bool{},
		IPs:                    map[string]bool{b.space.Addr().String(): true},
	}
	all := []dumped{}
	for _, block := range live {
		if !b.workload.sizes {
			parent.IPs[block.Addr().String()] = true
			continue
		}
		parent.IsParent = true
		parent.AvailableChildPrefixes[block.String()] = false
		all = append(all, dumped{
			Cidr:                   block.String(),
			ParentCidr:             parent.Cidr,
			AvailableChildPrefixes: map[string]bool{},
			IPs:                    map[string]bool{},
		})
	}
	text, err := json.Marshal(append(all, parent))
	return string(text), err
}

func (b *bench) load(live []netip.Prefix) error {
	before := inUse()
	text, err := b.dump(live)
	if err != nil {
		return err
	}
	b.ipamer = ipam.NewWithStorage(ipam.NewMemory(ctx()))
	if err := b.ipamer.Load(ctx(), text); err != nil {
		return err
	}
	after := inUse()
	b.memory = after - min(before, after)
	return nil
}

func inUse() uint64 {
	var statistics runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&statistics)
	return statistics.HeapAlloc
}

func (b *bench) run(operations int, budget time.Duration) error {
	b.layOut()
	live := b.liveOnes()
	if !b.workload.scattered {
		live = live[:b.live-b.pass]
	}
	if err := b.load(live); err != nil {
		return err
	}
	deadline := time.Now().Add(budget)
	for len(b.times) < operations && time.Now().Before(deadline) {
		if b.workload.from != nil {
			b.shuffle(b.workload.from(b), b.pass)
		}
		done := 0
		for done < b.pass && len(b.times) < operations && time.Now().Before(deadline) {
			begin := time.Now()
			err := b.workload.operation(b, done)
			b.times = append(b.times, time.Since(begin))
			if err != nil {
				return err
			}
			done++
		}
		// Nothing comes after the last pass, and restoring could take as long as it did.
		if done == b.pass {
			if err := b.workload.restore(b, done); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) result() result {
	slices.Sort(b.times)
	quantile := func(permille int) int64 {
		return b.times[max(0, (len(b.times)*permille+999)/1000-1)].Nanoseconds()
	}
	family := "ipv4"
	if b.space.Addr().Is6() {
		family = "ipv6"
	}
	return result{b.workload.name, family, len(b.times), quantile(500), quantile(990), quantile(999), b.memory}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "go-ipam:", err)
	os.Exit(1)
}

func main() {
	live := flag.Int("live", 1000, "live blocks")
	operations := flag.Int("operations", 100000, "operations of each workload, at most")
	budget := flag.Float64("budget", 2, "seconds for the operations of each workload")
	seed := flag.Int64("seed", 1, "for the random numbers")
	flag.Parse()
	spaces := map[bool][]string{
		false: {"10.0.0.0/8", "2001:db8::/64"},
		true:  {"16.0.0.0/4", "2001:db8::/64"},
	}
	results := []result{}
	for family := range 2 {
		for _, workload := range workloads {
			b := &bench{
				workload: workload,
				random:   rand.New(rand.NewSource(*seed)),
				space:    netip.MustParsePrefix(spaces[workload.sizes][family]),
				blocks:   make([]netip.Prefix, 2**live),
				live:     *live,
				pass:     *live / passShare,
			}
			b.given = make([]netip.Prefix, b.pass)
			if err := b.run(*operations, time.Duration(*budget*float64(time.Second))); err != nil {
				fail(fmt.Errorf("%s: %w", workload.name, err))
			}
			results = append(results, b.result())
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"results": results}); err != nil {
		fail(err)
	}
}

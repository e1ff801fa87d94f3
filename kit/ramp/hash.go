package ramp

// HashString spreads keys evenly over 64 bits. It gives the same in each process and each version, so that
// several instances let in the same users. It is no defence against someone who chooses keys. It does not
// allocate.
//
// It is 64-bit FNV-1a, whose upper bits differ little between short keys, followed by the finalizer of
// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
func HashString(key string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(key) {
		h ^= uint64(key[i])
		h *= 0x100000001b3
	}
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	h ^= h >> 31
	return h
}

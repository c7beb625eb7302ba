package keyfile

import "fmt"

// maxRounds is how many key-derivation rounds one file may ask for, all its
// derivations added up. Windows asks for 6,000, keytool for up to 200,000,
// careful people for 600,000 a piece, which in a PFX is 1,800,000. With the
// slowest hash the limit is about a second of work.
const maxRounds = 2_000_000

// A budget counts the rounds of one file before they are run. A number of
// rounds stands in the file, and a file may ask for 2^31 of them.
type budget struct{ used int }

// takeAll adds all of the rounds, so that the error can name the sum.
func (b *budget) takeAll(all []int) error {
	for _, rounds := range all {
		if rounds < 1 {
			return fmt.Errorf("%d key-derivation rounds make no sense: the file is damaged", rounds)
		}
		b.used = min(b.used+min(rounds, maxCount), maxCount)
	}
	if b.used > maxRounds {
		return fmt.Errorf("the file asks for %s key-derivation rounds, limit is %s: export it again with fewer",
			commas(b.used), commas(maxRounds))
	}
	return nil
}

// maxCount is as far as is counted, well away from overflow.
const maxCount = 1 << 40

package v1beta1

import "strings"

// known are the annotations that a Service may bear, without their prefix.
var known = []string{keyAddressPool, keyLoadBalancerIPs, keyAllowSharedIP, keyAnnounceFrom, strings.TrimPrefix(AnnotationAssignedFromPool, AnnotationPrefix)}

// Misspelt returns which annotation is meant by one that looks like one of ours and is none, "" where the name is right, or not like ours
// at all. MetalLB's prefixes are looked at for names that are close to one that is read; under Clarion's own prefix every name must be one.
func Misspelt(name string) string {
	for _, prefix := range []string{AnnotationPrefix, MetalLBPrefix, MetalLBOldPrefix} {
		key, ours := strings.CutPrefix(name, prefix)
		if !ours {
			continue
		}
		best, least := "", len(key)
		for _, k := range known {
			if k == key {
				return ""
			}
			if d := distance(plain(k), plain(key)); best == "" || d < least {
				best, least = k, d
			}
		}
		if prefix == AnnotationPrefix || least <= 3 {
			return AnnotationPrefix + best
		}
		return ""
	}
	// Another prefix, spelt nearly as ours.
	if prefix, key, found := strings.Cut(name, "/"); found {
		for _, k := range known {
			for _, p := range []string{AnnotationPrefix, MetalLBPrefix} {
				if key == k && distance(prefix+"/", p) <= 3 {
					return AnnotationPrefix + k
				}
			}
		}
	}
	return ""
}

// plain is a name without what is mixed up most: case and dashes.
func plain(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "") }

// distance is how many letters must be changed, added or taken away to make one of the other (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}

// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"math/bits"
	"slices"
)

// Every 32 bytes are some Ed25519 public key to most decoders. The values of y
// below, little-endian as in the encoding and without the sign of x, belong to the
// points whose order divides 8: with such a key a signature made without any
// private key verifies for many or all messages (RFC 8032, section 5.1; "Taming the
// many EdDSAs", section 3).
var smallOrder = [...][32]byte{
	{0: 0x00}, // order 4
	{0: 0x01}, // order 1, the identity
	{ // order 2: p-1
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{ // order 8
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
	{ // order 8, the other y
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
}

// checkEd25519 refuses keys of small order and those with y not reduced modulo p =
// 2^255-19, which would be a second encoding, and thumbprint, of another key. That
// there is a point for y at all turns out with the signature.
func checkEd25519(key []byte) error {
	var y [32]byte
	copy(y[:], key)
	y[31] &= 0x7f // the sign of x
	if slices.Contains(smallOrder[:], y) {
		return refuse(ReasonKeyUnacceptable, "point of small order")
	}
	// y >= p: all bits from 2^5 up set, and a low byte of at least 0xed.
	if y[0] >= 0xed && y[31] == 0x7f && !slices.ContainsFunc(y[1:31], func(b byte) bool { return b != 0xff }) {
		return refuse(ReasonJWKInvalid, "x is not canonical")
	}
	return nil
}

// checkModulus checks the size of an RSA modulus, big-endian without leading zero,
// and that it is odd. See also composites.
func checkModulus(n []byte) error {
	size := len(n)*8 - bits.LeadingZeros8(n[0])
	if size < minModulus || size > maxModulus {
		return refuse(ReasonKeyUnacceptable, "modulus is not of 2048 to 4096 bits")
	}
	if n[len(n)-1]&1 == 0 {
		return refuse(ReasonKeyUnacceptable, "modulus is even")
	}
	return nil
}

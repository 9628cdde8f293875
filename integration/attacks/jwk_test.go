// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"crypto/elliptic"
	"fmt"
	"math/big"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// obj writes a JWK from names and values.
func obj(pairs ...any) testkit.Object {
	var o testkit.Object
	for i := 0; i < len(pairs); i += 2 {
		o.Add(pairs[i].(string), pairs[i+1])
	}
	return o
}

// keys sends proofs with each of these as jwk, signed by the client's key.
func keys(w want, jwks map[string]any) test {
	return func(c *run) {
		for _, name := range sortedKeys(jwks) {
			c.variant(name, w, func(a *attempt) { a.head("jwk", jwks[name]) })
		}
	}
}

// k1 is the client's public JWK, its members by name.
var k1 = client1.Public

func member(name string) string { return k1.Get(name).(string) }

// number adds to a base64url number.
func number(s string, add *big.Int, size int) string {
	n := new(big.Int).SetBytes(testkit.UnB64(s))
	n.Add(n, add)
	if n.BitLen() > 8*size {
		n.SetBytes(elliptic.P256().Params().P.Bytes())
	}
	return testkit.B64(n.FillBytes(make([]byte, size)))
}

// dashed is a key with - or _ in its coordinates, so that the standard alphabet
// spells it differently.
func dashed() *testkit.Key {
	for i := 0; ; i++ {
		k := testkit.P256(fmt.Sprint("dashed ", i))
		if strings.ContainsAny(k.Public.Get("x").(string), "-_") && strings.ContainsAny(k.Public.Get("y").(string), "-_") {
			return k
		}
	}
}

// rsaWith sends a PS256 proof with this modulus and exponent.
func rsaWith(n *big.Int, e int64) any {
	exponent := big.NewInt(e).Bytes()
	if e == 0 {
		exponent = []byte{0}
	}
	modulus := n.Bytes()
	if len(modulus) == 0 {
		modulus = []byte{0}
	}
	return obj("kty", "RSA", "n", testkit.B64(modulus), "e", testkit.B64(exponent))
}

// rsaKeys sends PS256 proofs by keys that nobody should have.
func rsaKeys(w want, jwks map[string]any) test {
	return func(c *run) {
		for _, name := range sortedKeys(jwks) {
			c.variant(name, w, withKey(rsaKey, func(a *attempt) { a.head("jwk", jwks[name]) }))
		}
	}
}

// primeKey is a working RSA key whose modulus is a prime, that of RFC 3526, section 3:
// whoever sees it can sign with it.
func primeKey() *testkit.Key {
	n, _ := new(big.Int).SetString("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"+
		"EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"+
		"EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"+
		"83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"+
		"E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"+
		"15728E5A8AACAA68FFFFFFFFFFFFFFFF", 16)
	e := big.NewInt(65537)
	d := new(big.Int).ModInverse(e, new(big.Int).Sub(n, big.NewInt(1)))
	return testkit.RSAFromPrimes(n, e, d)
}

func p256() *big.Int { return new(big.Int).Set(elliptic.P256().Params().P) }

// Group J: the proof's key and its thumbprint.
var _ = add(cases{
	"J01": all(keys(jwkMissing, map[string]any{"null": nil}), one(jwkMissing, func(a *attempt) { a.proof.Header.Delete("jwk") })),
	"J02": keys(jwkInvalid, map[string]any{"empty": "", "number": 1, "true": true, "array": []string{}, "string": "foo", "object": testkit.Object{}}),
	"J03": keys(jwkInvalid, map[string]any{"text": k1.String()}),
	"J04": keys(jwkInvalid, map[string]any{"set": obj("keys", []any{k1}), "list": []any{k1}}),
	"J05": keys(badProof("jwk_private"), map[string]any{"d": client1.PrivateJWK(), "wrong d": k1.With("d", "AA"), "null d": k1.With("d", nil), "empty d": k1.With("d", "")}),
	"J07": all(
		rsaKeys(badProof("jwk_private"), map[string]any{"full": rsaKey().PrivateJWK(), "p only": rsaKey().Public.With("p", "AQ"), "oth": rsaKey().Public.With("oth", []any{})}),
		one(badProof("jwk_private"), withKey(okpKey, func(a *attempt) { a.head("jwk", okpKey().PrivateJWK()) }))),
	"J11": keys(badProof("jwk_private"), map[string]any{"oct": obj("kty", "oct", "k", "AAAA"), "k beside": k1.With("k", "AAAA")}),
	"J12": keys(jwkInvalid, map[string]any{"y+1": k1.With("y", number(member("y"), big.NewInt(1), 32)), "zero": obj("kty", "EC", "crv", "P-256", "x", testkit.B64(make([]byte, 32)), "y", testkit.B64(make([]byte, 32)))}),
	"J14": keys(jwkInvalid, map[string]any{
		"x = p": k1.With("x", testkit.B64(p256().Bytes())), "x + p": k1.With("x", number(member("x"), p256(), 32)),
		"y = p": k1.With("y", testkit.B64(p256().Bytes())), "all ones": k1.With("x", testkit.B64([]byte(strings.Repeat("\xff", 32)))),
	}),
	"J15": func(c *run) {
		koblitz := testkit.Secp256k1("client").Public.With("crv", "P-256")
		large := testkit.P384("client").Public.With("crv", "P-256")
		keys(jwkInvalid, map[string]any{"secp256k1": koblitz, "P-384": large})(c)
	},
	"J16": func(c *run) {
		for _, coordinate := range []string{"x", "y"} {
			k := testkit.LeadingZero(coordinate)
			short := testkit.B64(testkit.UnB64(k.Public.Get(coordinate).(string))[1:])
			long := testkit.B64(append([]byte{0}, testkit.UnB64(k.Public.Get(coordinate).(string))...))
			for _, v := range []string{short, long} {
				c.variant(fmt.Sprint(coordinate, len(v)), jwkInvalid, func(a *attempt) { a.bind(k.WithPublic(k.Public.With(coordinate, v))) })
			}
		}
	},
	"J18": each(accepted, variants{
		"x": func(a *attempt) { a.bind(testkit.LeadingZero("x")) },
		"y": func(a *attempt) { a.bind(testkit.LeadingZero("y")) },
	}),
	"J19": keys(jwkInvalid, map[string]any{
		"swapped": k1.With("x", member("y")).With("y", member("x")), "no y": k1.Without("y"), "no x": k1.Without("x"),
		"neither": k1.Without("x", "y"), "numbers": k1.With("x", 1), "null": k1.With("y", nil),
	}),
	"J20": keys(jwkInvalid, map[string]any{
		"missing": k1.Without("crv"), "unknown": k1.With("crv", "P-999"), "lower": k1.With("crv", "p-256"), "blank": k1.With("crv", "P-256 "),
		"sec": k1.With("crv", "secp256r1"), "number": k1.With("crv", 256), "null": k1.With("crv", nil), "secp256k1": k1.With("crv", "secp256k1"),
	}),
	"J21": keys(jwkInvalid, map[string]any{"missing": k1.Without("kty"), "lower": k1.With("kty", "ec"), "EC2": k1.With("kty", "EC2"), "number": k1.With("kty", 2), "null": k1.With("kty", nil), "RSA": k1.With("kty", "XYZ")}),
	"J23": func(c *run) {
		k := dashed()
		for _, coordinate := range []string{"x", "y"} {
			c.variant(coordinate, jwkInvalid, func(a *attempt) {
				a.bind(k)
				a.head("jwk", k.Public.With(coordinate, stdEncoding.EncodeToString(testkit.UnB64(k.Public.Get(coordinate).(string)))))
			})
		}
	},
	"J24": keys(jwkInvalid, map[string]any{"x": k1.With("x", testkit.LooseBits(member("x"))), "y": k1.With("y", testkit.LooseBits(member("y"))), "padded": k1.With("x", member("x")+"=")}),
	"J25": keys(jwkInvalid, map[string]any{
		"newline": k1.With("x", member("x")[:9]+"\n"+member("x")[9:]), "tab": k1.With("x", member("x")+"\t"), "blank": k1.With("y", " "+member("y")),
		"return": k1.With("y", member("y")+"\r\n"), "in place": k1.With("x", member("x")[:42]+"\n"),
	}),
	"J26": func(c *run) {
		for _, bits := range []int{512, 1024, 1536} {
			c.variant(fmt.Sprint(bits), keyRefused, func(a *attempt) { a.bind(testkit.RSA(bits, "weak")) })
		}
	},
	"J27": one(keyRefused, func(a *attempt) { a.bind(testkit.RSA(2047, "weak")) }),
	"J28": each(accepted, variants{
		"3072": withKey(func() *testkit.Key { return testkit.RSA(3072, "client") }, nil),
		"4096": withKey(func() *testkit.Key { return testkit.RSA(4096, "client") }, nil),
	}),
	"J31": all(
		func(c *run) {
			n := rsaKey().Modulus()
			rsaKeys(keyRefused, map[string]any{
				"0": rsaWith(n, 0), "1": rsaWith(n, 1), "2": rsaWith(n, 2), "3": rsaWith(n, 3), "4": rsaWith(n, 4), "65536": rsaWith(n, 65536), "65539": rsaWith(n, 65539),
				"huge": obj("kty", "RSA", "n", testkit.B64(n.Bytes()), "e", testkit.B64(n.Bytes())),
			})(c)
		},
		rsaKeys(keyRefused, map[string]any{"4097 bits": rsaWith(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 4096), big.NewInt(1)), 65537)})),
	"J35": func(c *run) {
		n := rsaKey().Modulus()
		even := new(big.Int).Add(n, big.NewInt(1))
		rsaKeys(keyRefused, map[string]any{"0": rsaWith(new(big.Int), 65537), "1": rsaWith(big.NewInt(1), 65537), "even": rsaWith(even, 65537)})(c)
		c.variant("prime", keyRefused, func(a *attempt) { a.bind(primeKey()) })
		rsaKeys(jwkInvalid, map[string]any{"empty": obj("kty", "RSA", "n", "", "e", "AQAB"), "leading zero": obj("kty", "RSA", "n", testkit.B64(append([]byte{0}, n.Bytes()...)), "e", "AQAB"), "no n": obj("kty", "RSA", "e", "AQAB"), "no e": rsaKey().Public.Without("e")})(c)
	},
	"J36": keys(accepted, map[string]any{
		"all":    k1.With("kid", "1").With("use", "sig").With("alg", "ES256").With("ext", true).With("key_ops", []string{"verify"}),
		"others": k1.With("iat", 1).With("nested", obj("a", []any{1, nil})), "order": obj("y", member("y"), "x", member("x"), "crv", "P-256", "kty", "EC"),
	}),
	"J37": keys(jwkInvalid, map[string]any{"use": k1.With("use", "enc"), "encrypt": k1.With("key_ops", []string{"encrypt"}), "none": k1.With("key_ops", []string{}), "sign": k1.With("key_ops", []string{"sign"}), "odd use": k1.With("use", 1)}),
	"J41": keys(jwkInvalid, map[string]any{"KTY": renamed("kty", "KTY"), "X": renamed("x", "X"), "Crv": renamed("crv", "Crv"), "beside": k1.With("X", member("x")), "D": k1.With("D", "AA")}),
	"J42": keys(jwkInvalid, map[string]any{"Kelvin": renamed("kty", `"\u212Aty"`), "long s": k1.With(`"u\u017Fe"`, "sig"), "beside": k1.With(`"\u212Aty"`, "EC")}),
	"J44": func(c *run) {
		k := okpKey()
		x := testkit.UnB64(k.Public.Get("x").(string))
		for name, v := range map[string]any{"31": testkit.B64(x[:31]), "33": testkit.B64(append(x, 0)), "empty": "", "number": 1, "missing": nil} {
			c.variant(name, jwkInvalid, withKey(okpKey, func(a *attempt) { a.head("jwk", k.Public.With("x", v)) }))
		}
		c.variant("loose", jwkInvalid, withKey(okpKey, func(a *attempt) { a.head("jwk", k.Public.With("x", testkit.LooseBits(k.Public.Get("x").(string)))) }))
	},
	"J46": each(badToken("jkt_mismatch"), variants{
		"without crv": withKey(okpKey, func(a *attempt) {
			a.token(cnfJKT(testkit.ATH(obj("kty", "OKP", "x", okpKey().Public.Get("x")).String())))
		}),
		"other crv": withKey(okpKey, func(a *attempt) {
			a.token(cnfJKT(testkit.ATH(obj("crv", "X25519", "kty", "OKP", "x", okpKey().Public.Get("x")).String())))
		}),
	}),
	"J47": func(c *run) {
		other, err := certificateFor(client2, "other")
		c.ok(err)
		keys(jwkInvalid, map[string]any{"x5c": k1.With("x5c", []string{other}), "no list": k1.With("x5c", "x"), "rubbish": k1.With("x5c", []string{"AAAA"})})(c)
	},
	"J48": quiet(keys(accepted, map[string]any{"jku": k1.With("jku", canary.URL+"/jwks"), "x5u": k1.With("x5u", canary.URL+"/cert")})),
	"J49": each(badToken("jkt_mismatch"), variants{
		"with kid": func(a *attempt) { a.token(cnfJKT(testkit.ATH(k1.With("kid", "1").String()))) },
		"as sent":  func(a *attempt) { a.token(cnfJKT(testkit.ATH(k1.String()))) },
		"with use": func(a *attempt) { a.token(cnfJKT(testkit.ATH(client1.JWK("1").String()))) },
		"of K2":    func(a *attempt) { a.token(cnfJKT(client2.Thumbprint())) },
		"of spaces": func(a *attempt) {
			a.token(cnfJKT(testkit.ATH(strings.ReplaceAll(string(testkit.ThumbprintInput(k1)), ",", ", "))))
		},
	}),
	"J50": func(c *run) {
		for _, h := range []string{"sha1", "sha384", "sha512", "hex"} {
			c.variant(h, badToken("token_cnf_invalid"), func(a *attempt) { a.token(cnfJKT(otherHash(h, string(testkit.ThumbprintInput(k1))))) })
		}
	},
	"J52": keys(jwkInvalid, map[string]any{"parity": k1.Without("y").With("sign", 1), "boolean y": k1.With("y", true), "compressed": k1.Without("y").With("x", testkit.B64(append([]byte{2}, testkit.UnB64(member("x"))...)))}),
	"J53": keys(badProof("proof_too_large"), map[string]any{"4 kB": k1.With("filler", strings.Repeat("x", 4096))}),
	"J54": one(accepted, func(a *attempt) { a.bind(publishedKey()) }),
})

func renamed(from, to string) testkit.Object {
	o := k1.Clone()
	o.Rename(from, to)
	return o
}

// cnfJKT puts any text into cnf.jkt of a token.
func cnfJKT(jkt any) func(*testkit.JWS) {
	return func(t *testkit.JWS) { t.Claims.Set("cnf", obj("jkt", jkt)) }
}

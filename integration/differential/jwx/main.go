// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Command jwx is a peer of the differential test: a verifier of DPoP proofs on
// github.com/lestrrat-go/jwx. It reads a JSON array of vectors from standard input and
// writes an array of answers, each "accept" or what was said against the proof.
//
// It is a module of its own, so that nobody who builds Caddy with the plugin has to
// do with that library.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// vector is what the test says of one case.
type vector struct {
	Proof   string `json:"proof"`
	Request struct {
		Method      string  `json:"method"`
		URI         string  `json:"uri"`
		AccessToken *string `json:"access_token"`
		Now         int64   `json:"now"`
	} `json:"request"`
	Algorithms []string `json:"algorithms"`
	MaxAge     int      `json:"maxAge"`
	Skew       int      `json:"skew"`
}

func main() {
	var vectors []*vector
	if err := json.NewDecoder(os.Stdin).Decode(&vectors); err != nil {
		log.Fatal(err)
	}
	answers := make([]string, len(vectors))
	for i, v := range vectors {
		answers[i] = "accept"
		if err := verify(v); err != nil {
			answers[i], _, _ = strings.Cut(err.Error(), "\n")
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

// verify is what one writes with the library's documentation and RFC 9449, section 4.3,
// at hand. A panic is an answer, too.
func verify(v *vector) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	payload, err := verifySignature(v)
	if err != nil {
		return err
	}
	claims := jwt.New()
	if err := json.Unmarshal(payload, claims); err != nil {
		return err
	}
	return check(claims, v)
}

// verifySignature is checks 2 and 4 to 7.
func verifySignature(v *vector) ([]byte, error) {
	message, err := jws.Parse([]byte(v.Proof), jws.WithCompact())
	if err != nil {
		return nil, err
	}
	header := message.Signatures()[0].ProtectedHeaders()
	if typ, _ := header.Type(); typ != "dpop+jwt" {
		return nil, errors.New("typ")
	}
	algorithm, ok := header.Algorithm()
	if !ok || !slices.Contains(v.Algorithms, algorithm.String()) {
		return nil, errors.New("alg")
	}
	key, ok := header.JWK()
	if !ok {
		return nil, errors.New("no jwk")
	}
	if private, err := jwk.IsPrivateKey(key); err != nil || private {
		return nil, errors.New("jwk is not a public key")
	}
	// crit is ignored unless one asks for it to be looked at.
	return jws.Verify([]byte(v.Proof), jws.WithCompact(), jws.WithKey(algorithm, key), jws.WithValidateKey(true), jws.WithCritValidation(true))
}

// check is checks 3 and 8 to 12.
func check(claims jwt.Token, v *vector) error {
	now, skew := time.Unix(v.Request.Now, 0), time.Duration(v.Skew)*time.Second
	err := jwt.Validate(claims,
		jwt.WithClock(jwt.ClockFunc(func() time.Time { return now })), jwt.WithAcceptableSkew(skew),
		jwt.WithRequiredClaim("jti"), jwt.WithRequiredClaim("iat"), jwt.WithClaimValue("htm", v.Request.Method))
	if err != nil {
		return err
	}
	if issued, _ := claims.IssuedAt(); issued.Before(now.Add(-skew - time.Duration(v.MaxAge)*time.Second)) {
		return errors.New("iat")
	}
	var htu string
	if err := claims.Get("htu", &htu); err != nil {
		return err
	}
	claimed, err := withoutQuery(htu)
	if err != nil {
		return err
	}
	if actual, err := withoutQuery(v.Request.URI); err != nil || claimed != actual {
		return errors.New("htu")
	}
	if v.Request.AccessToken == nil {
		return nil
	}
	hash := sha256.Sum256([]byte(*v.Request.AccessToken))
	return jwt.Validate(claims, jwt.WithResetValidators(true), jwt.WithClaimValue("ath", base64.RawURLEncoding.EncodeToString(hash[:])))
}

func withoutQuery(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = "", "", "", false
	return u.String(), nil
}

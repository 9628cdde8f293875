// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package differential

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"

	"github.com/go-jose/go-jose/v4"
)

// withGoJose is the verifier that one writes with go-jose and RFC 9449 section 4.3 at
// hand, and with nothing that this module has learned since.
func withGoJose(v *vector) error {
	var algorithms []jose.SignatureAlgorithm
	for _, a := range v.Algorithms {
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	jws, err := jose.ParseSignedCompact(v.Proof, algorithms)
	if err != nil {
		return err
	}
	header := jws.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != "dpop+jwt" {
		return errors.New("typ")
	}
	if header.JSONWebKey == nil || !header.JSONWebKey.IsPublic() || !header.JSONWebKey.Valid() {
		return errors.New("jwk")
	}
	payload, err := jws.Verify(header.JSONWebKey)
	if err != nil {
		return err
	}
	var claims struct {
		ID, HTM, HTU, ATH string
		IAT, EXP, NBF     *float64
	}
	// The members are named so that encoding/json finds them whatever their case.
	var named struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	if err := json.Unmarshal(payload, &named); err != nil {
		return err
	}
	if named.ID == "" || claims.IAT == nil {
		return errors.New("a claim is missing")
	}
	if claims.HTM != v.Request.Method {
		return errors.New("htm")
	}
	claimed, err := withoutQuery(claims.HTU)
	if err != nil {
		return err
	}
	if actual, err := withoutQuery(v.Request.URI); err != nil || claimed != actual {
		return errors.New("htu")
	}
	now, skew := float64(v.Request.Now), float64(v.Skew)
	if *claims.IAT > now+skew || *claims.IAT < now-skew-float64(v.MaxAge) {
		return errors.New("iat")
	}
	if claims.EXP != nil && *claims.EXP <= now-skew || claims.NBF != nil && *claims.NBF > now+skew {
		return errors.New("exp or nbf")
	}
	if v.Request.AccessToken != nil {
		hash := sha256.Sum256([]byte(*v.Request.AccessToken))
		if claims.ATH != base64.RawURLEncoding.EncodeToString(hash[:]) {
			return errors.New("ath")
		}
	}
	return nil
}

func withoutQuery(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = "", "", "", false
	return u.String(), nil
}

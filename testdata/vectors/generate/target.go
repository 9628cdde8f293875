// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

// targetVectors are about htm and htu.
func targetVectors() *set {
	s := &set{Description: "htm and htu: RFC 9449, section 4.3, checks 8 and 9, RFC 3986, sections 6.2.2 and 6.2.3."}
	const origin = "https://api.example.test"
	// htu, request URI, expectation, cases of the catalogue
	for _, c := range []struct {
		htu, uri, expect string
		catalogue        []string
	}{
		{"HTTPS://API.EXAMPLE.TEST/api/items", uri, "accept", []string{"D02"}},
		{origin + ":443/api/items", uri, "accept", []string{"D03"}},
		{origin + ":/api/items", uri, "accept", []string{"D04"}},
		{origin + ":0443/api/items", uri, "htu_invalid", []string{"D05"}},
		{origin + ":0/api/items", uri, "htu_invalid", []string{"D05"}},
		{origin + ":65536/api/items", uri, "htu_invalid", nil},
		{origin + ":+443/api/items", uri, "htu_invalid", nil},
		{origin + ":443x/api/items", uri, "htu_invalid", nil},
		{origin + ":443:443/api/items", uri, "htu_invalid", nil},
		{origin + ":8443/api/items", uri, "htu_mismatch", []string{"D06"}},
		{origin + ":80/api/items", uri, "htu_mismatch", nil},
		{"http://api.example.test/api/items", uri, "htu_mismatch", []string{"D07"}},
		{"http://api.example.test:443/api/items", uri, "htu_mismatch", nil},
		{"http://api.example.test:80/api/items", "http://api.example.test/api/items", "accept", nil},
		{"https://api.example.test./api/items", uri, "htu_mismatch", []string{"D09"}},
		{uri + "/", uri, "htu_mismatch", []string{"D10"}},
		{uri, uri + "/", "htu_mismatch", []string{"D11"}},
		{origin, origin + "/", "accept", []string{"D13"}},
		{origin + "?x=1", origin + "/", "accept", []string{"D13"}},
		{origin + "/api/%69tem%73", uri, "accept", []string{"D14"}},
		{uri, origin + "/api/%69tems", "accept", []string{"D15"}},
		{origin + "/%7Euser/%2D%2e%5F", origin + "/~user/-._", "accept", []string{"D14"}},
		{origin + "/api/%C3%A9", origin + "/api/%c3%a9", "accept", []string{"D16"}},
		{origin + "/api%2Fitems", uri, "htu_mismatch", []string{"D17"}},
		{origin + "/api/a%2Fb", origin + "/api/a%2fb", "accept", []string{"D18"}},
		{origin + "/api/a/b", origin + "/api/a%2Fb", "htu_mismatch", []string{"D19"}},
		{origin + "/x/%2e%2E/api/items", uri, "accept", []string{"D22"}},
		{origin + "/api/./x/../items", uri, "accept", []string{"D22"}},
		{origin + "/../../api/items", uri, "accept", []string{"D22"}},
		{origin + "/public/x", origin + "/public/../admin", "htu_mismatch", []string{"D24"}},
		{origin + "/api/items/..", origin + "/api/", "accept", nil},
		{origin + "/api/items/.", origin + "/api/items/", "accept", nil},
		{origin + "/api/...", origin + "/api/..", "htu_mismatch", nil},
		{origin + "/api/%2e%2e%2fitems", origin + "/api/..%2Fitems", "accept", nil},
		{origin + "/api//../items", uri, "accept", nil},
		{uri + ";v=1", uri, "htu_mismatch", []string{"D26"}},
		{uri, uri + ";v=1", "htu_mismatch", []string{"D26"}},
		{origin + "//api/items", uri, "htu_mismatch", []string{"D28"}},
		{origin + "/api//items", uri, "htu_mismatch", []string{"D28"}},
		{uri, origin + "//api/items", "htu_mismatch", []string{"D29"}},
		{"https://evil.example/api/items", origin + "//evil.example/api/items", "htu_mismatch", []string{"D30"}},
		{uri + "?x=1", uri, "accept", []string{"D31"}},
		{uri + "#frag", uri, "accept", []string{"D32"}},
		{uri + "?x=2", uri + "?x=1", "accept", []string{"D33"}},
		{uri + `?a=\\b`, uri, "accept", []string{"D31"}},
		{origin + "/api/items%3Fx=1", uri + "?x=1", "htu_mismatch", []string{"D34"}},
		{origin + "/api/items%23x", uri, "htu_mismatch", nil},
		{"https://u:p@api.example.test/api/items", uri, "htu_invalid", []string{"D36"}},
		{"https://@api.example.test/api/items", uri, "htu_invalid", []string{"D36"}},
		{"https://bücher.example.test/api/items", "https://xn--bcher-kva.example.test/api/items", "htu_invalid", []string{"D38"}},
		{"https://XN--BCHER-KVA.example.test/api/items", "https://xn--bcher-kva.example.test/api/items", "accept", []string{"D39"}},
		{"https://ａpi.example.test/api/items", uri, "htu_invalid", []string{"D40"}},
		{"https://аpi.example.test/api/items", uri, "htu_invalid", []string{"D40"}},
		{`https://api\u00ad.example.test/api/items`, uri, "htu_invalid", []string{"D40"}},
		{`https://api\u200d.example.test/api/items`, uri, "htu_invalid", []string{"D40"}},
		{`http\u017f://api.example.test/api/items`, uri, "htu_invalid", []string{"D40"}},
		{"https://%61pi.example.test/api/items", uri, "htu_invalid", []string{"D40"}},
		{"https://[::1]:8443/api", "https://[::1]:8443/api", "accept", []string{"D41"}},
		{"https://[0:0:0:0:0:0:0:1]:8443/api", "https://[::1]:8443/api", "accept", []string{"D41"}},
		{"https://[FE80::A]/api", "https://[fe80::a]/api", "accept", []string{"D43"}},
		{"https://[fe80::1%25eth0]/api", "https://[fe80::1]/api", "htu_invalid", []string{"D44"}},
		{"https://[fe80::1%eth0]/api", "https://[fe80::1]/api", "htu_invalid", []string{"D44"}},
		{"https://[api.example.test]/api/items", uri, "htu_invalid", []string{"D44"}},
		{"https://[127.0.0.1]/api", "https://127.0.0.1/api", "htu_invalid", []string{"D44"}},
		{"https://[v1.a]/api", uri, "htu_invalid", []string{"D44"}},
		{"https://[::1/api", "https://[::1]/api", "htu_invalid", []string{"D44"}},
		{"https://[::1]x/api", "https://[::1]/api", "htu_invalid", []string{"D44"}},
		{"https://[::1]]/api", "https://[::1]/api", "htu_invalid", []string{"D44"}},
		{"https://::1/api", "https://[::1]/api", "htu_invalid", []string{"D44"}},
		{"https://[::ffff:127.0.0.1]/api", "https://127.0.0.1/api", "htu_mismatch", nil},
		{"https://2130706433/api", "https://127.0.0.1/api", "htu_mismatch", []string{"D45"}},
		{"https://0x7f.1/api", "https://127.0.0.1/api", "htu_mismatch", []string{"D45"}},
		{"https://127.1/api", "https://127.0.0.1/api", "htu_mismatch", []string{"D45"}},
		{"/api/items", uri, "htu_invalid", []string{"D46"}},
		{"//api.example.test/api/items", uri, "htu_invalid", []string{"D46"}},
		{"api.example.test/api/items", uri, "htu_invalid", []string{"D46"}},
		{"https:/api.example.test/api/items", uri, "htu_invalid", nil},
		{"https:api.example.test", uri, "htu_invalid", nil},
		{"https:///api/items", uri, "htu_invalid", nil},
		{"https://", uri, "htu_invalid", nil},
		{"", uri, "htu_invalid", nil},
		{"wss://api.example.test/api/items", uri, "htu_invalid", nil},
		{"ftp://api.example.test/api/items", uri, "htu_invalid", nil},
		{" " + uri, uri, "htu_invalid", []string{"D52"}},
		{uri + " ", uri, "htu_invalid", []string{"D52"}},
		{uri + "\u00a0", uri, "htu_invalid", []string{"D52"}},
		{uri + `\n`, uri, "htu_invalid", []string{"D52"}},
		{uri + `\u0000`, uri, "htu_invalid", nil},
		{origin + "/api/other", uri, "htu_mismatch", []string{"D53"}},
		{origin + "/API/items", uri, "htu_mismatch", nil},
		{"https://evil.example/api/items", uri, "htu_mismatch", []string{"D55"}},
		{"http://10.0.0.5:9000/items", uri, "htu_mismatch", []string{"D69"}},
		{origin + "/items", uri, "htu_mismatch", []string{"D68"}},
		{origin + "/api/%2e%2e/admin", origin + "/api/%252e%252e/admin", "htu_mismatch", []string{"D74"}},
		{origin + "/api/%252e%252e/admin", origin + "/api/%252E%252E/admin", "htu_mismatch", []string{"D74"}},
		{origin + "/api/%252e%252e/admin", origin + "/api/%252e%252e/admin", "accept", []string{"D74"}},
		{origin + "/api%5c..%5cadmin", origin + "/api%5C..%5Cadmin", "accept", []string{"D75"}},
		{origin + `/api\\items`, uri, "htu_invalid", []string{"D75"}},
		{`https:\\\\api.example.test/api/items`, uri, "htu_invalid", []string{"D75"}},
		{`https://api.example.test\\@evil.example/`, uri, "htu_invalid", []string{"D75"}},
		{origin + "/api/items%00.txt", origin + "/api/items%00.txt", "accept", []string{"D75"}},
		{origin + "/api/items%00", uri, "htu_mismatch", []string{"D75"}},
		{origin + "/api/%zz", uri, "htu_invalid", []string{"D72"}},
		{origin + "/api/%", uri, "htu_invalid", []string{"D72"}},
		{origin + "/api/%2", uri, "htu_invalid", []string{"D72"}},
		{origin + "/a|b", origin + "/a%7Cb", "accept", nil},
		{origin + "/a%7cb", origin + "/a|b", "accept", nil},
		{origin + `/\"<>[]^` + "`{}", origin + "/%22%3C%3E%5B%5D%5E%60%7B%7D", "accept", nil},
		{origin + "/a+b", origin + "/a%20b", "htu_mismatch", nil},
		{origin + "/a+b", origin + "/a%2Bb", "htu_mismatch", nil},
		{origin + "/!$&'()*+,;=:@", origin + "/!$&'()*+,;=:@", "accept", nil},
		{"https://api.example.test,evil.example/api/items", uri, "htu_invalid", nil},
		{uri + "," + uri, uri, "htu_mismatch", nil},
	} {
		v := s.add("htu "+c.htu+" for "+c.uri, c.expect, "", plain().claim("htu", quote(c.htu)), c.catalogue...)
		v.Request.URI = c.uri
	}
	for name, value := range map[string]string{"array": `["` + uri + `"]`, "number": "1", "null": "null", "object": "{}"} {
		s.add("htu: "+name, "htu_invalid", "", plain().claim("htu", value))
	}
	s.add("htu missing", "htu_missing", "", plain().drop("htu"))

	for name, value := range map[string]string{"array": `["GET"]`, "object": `{"m":"GET"}`, "number": "1", "null": "null", "true": "true"} {
		s.add("htm: "+name, "claims_invalid", "", plain().claim("htm", value), "E06")
	}
	s.add("htm missing", "htm_missing", "", plain().drop("htm"))
	for htm, wire := range map[string]string{"PUT": "GET", "HEAD": "GET", "GET": "HEAD", "get": "GET", "Get": "GET", " GET": "GET", "GET ": "GET", "": "GET", "POST": "DELETE"} {
		s.add("htm "+quote(htm)+" for "+wire, "htm_mismatch", "", plain().claim("htm", quote(htm)), "E01", "E04").Request.Method = wire
	}
	s.add("htm GET for get", "htm_mismatch", "Methods are case-sensitive.", plain(), "E12").Request.Method = "get"
	for _, wire := range []string{"PURGE", "QUERY", "POST", "OPTIONS", "M-SEARCH"} {
		s.add("method "+wire, "accept", "", plain().claim("htm", quote(wire)), "E11").Request.Method = wire
	}
	return s
}

// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

import java.math.BigInteger;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.Scanner;
import java.util.UUID;
import java.util.regex.Pattern;

/**
 * A DPoP client with nothing but the JDK: reads calls from standard input and writes the
 * answers, see call_test.go. Runs as {@code java Main.java}.
 */
public class Main {
  /** Offers an upgrade to h2c with the first request, as the JDK does by default. */
  static final HttpClient http = HttpClient.newHttpClient();

  static final String algorithm = System.getenv("ALG");
  static final Base64.Encoder base64 = Base64.getUrlEncoder().withoutPadding();

  final KeyPair keys = generate();
  String nonce;

  public static void main(String[] args) throws Exception {
    Main own = new Main();
    Main stranger = new Main();
    String token = own.token();
    String second = own.token();
    Scanner in = new Scanner(System.in, StandardCharsets.UTF_8);
    while (in.hasNextLine()) {
      String[] call = in.nextLine().split("\t", -1);
      Main client = call[5].equals("foreign") ? stranger : own;
      client.make(call, token, second);
    }
  }

  /** Makes a call: name, method, URL, method and URL as sent, what to spoil, body. */
  void make(String[] call, String token, String second) throws Exception {
    String tweak = call[5];
    for (int attempt = 0; attempt < 2; attempt++) {
      long now = System.currentTimeMillis() / 1000 - (tweak.equals("old") ? 600 : 0);
      String proof = proof(call[1], call[2], tweak.equals("no-ath") ? null : token, now);
      HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(call[4]));
      request.method(call[3], call[6].isEmpty() ? BodyPublishers.noBody() : BodyPublishers.ofString(call[6]));
      if (tweak.equals("bearer")) {
        request.header("Authorization", "Bearer " + token);
      } else {
        request.header("Authorization", "DPoP " + (tweak.equals("other-token") ? second : token));
        request.header("DPoP", proof);
      }
      HttpResponse<String> response = send(call[0], request.build());
      if (tweak.equals("again")) {
        response = send(call[0], request.build());
      }
      if (!challenged(response)) {
        return;
      }
    }
  }

  static HttpResponse<String> send(String name, HttpRequest request) throws Exception {
    HttpResponse<String> response = http.send(request, BodyHandlers.ofString());
    System.out.println(String.join("\t", "answer", name, "" + response.statusCode(),
        response.headers().firstValue("X-Reason").orElse(""),
        response.headers().firstValue("WWW-Authenticate").orElse("")));
    return response;
  }

  /** Keeps the nonce of an answer and says whether the request is to be made again. */
  boolean challenged(HttpResponse<String> response) {
    String fresh = response.headers().firstValue("DPoP-Nonce").orElse(null);
    if (fresh == null) {
      return false;
    }
    nonce = fresh;
    return response.statusCode() == 401 || response.statusCode() == 400;
  }

  String token() throws Exception {
    String endpoint = System.getenv("TOKEN_ENDPOINT");
    String form = "grant_type=client_credentials&scope=" + System.getenv("SCOPE")
        + "&resource=" + URLEncoder.encode(System.getenv("RESOURCE"), StandardCharsets.UTF_8)
        + "&client_id=" + System.getenv("CLIENT_ID") + "&client_secret=" + System.getenv("CLIENT_SECRET");
    HttpRequest request = HttpRequest.newBuilder(URI.create(endpoint))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("DPoP", proof("POST", endpoint, null, System.currentTimeMillis() / 1000))
        .POST(BodyPublishers.ofString(form)).build();
    String body = http.send(request, BodyHandlers.ofString()).body();
    var found = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"]+)\"").matcher(body);
    if (!found.find()) {
      throw new IllegalStateException(body);
    }
    return found.group(1);
  }

  String proof(String method, String uri, String token, long now) throws Exception {
    String header = "{\"typ\":\"dpop+jwt\",\"alg\":\"" + algorithm + "\",\"jwk\":" + jwk() + "}";
    StringBuilder claims = new StringBuilder("{");
    claims.append("\"jti\":\"").append(UUID.randomUUID()).append("\",\"htm\":\"").append(method)
        .append("\",\"htu\":\"").append(uri.split("\\?")[0]).append("\",\"iat\":").append(now);
    if (token != null) {
      byte[] hash = MessageDigest.getInstance("SHA-256").digest(token.getBytes(StandardCharsets.US_ASCII));
      claims.append(",\"ath\":\"").append(base64.encodeToString(hash)).append('"');
    }
    if (nonce != null) {
      claims.append(",\"nonce\":\"").append(nonce).append('"');
    }
    claims.append('}');
    String input = encode(header) + "." + encode(claims.toString());
    Signature signature = signature();
    signature.initSign(keys.getPrivate());
    signature.update(input.getBytes(StandardCharsets.US_ASCII));
    return input + "." + base64.encodeToString(signature.sign());
  }

  static String encode(String text) {
    return base64.encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }

  static KeyPair generate() {
    try {
      KeyPairGenerator generator;
      switch (algorithm) {
        case "ES256" -> {
          generator = KeyPairGenerator.getInstance("EC");
          generator.initialize(new ECGenParameterSpec("secp256r1"));
        }
        case "EdDSA" -> generator = KeyPairGenerator.getInstance("Ed25519");
        default -> {
          generator = KeyPairGenerator.getInstance("RSA");
          generator.initialize(2048);
        }
      }
      return generator.generateKeyPair();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  static Signature signature() throws Exception {
    switch (algorithm) {
      case "ES256":
        return Signature.getInstance("SHA256withECDSAinP1363Format");
      case "EdDSA":
        return Signature.getInstance("Ed25519");
      case "PS256":
        Signature pss = Signature.getInstance("RSASSA-PSS");
        pss.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
        return pss;
      default:
        return Signature.getInstance("SHA256withRSA");
    }
  }

  String jwk() {
    if (keys.getPublic() instanceof ECPublicKey ec) {
      return "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" + number(ec.getW().getAffineX(), 32)
          + "\",\"y\":\"" + number(ec.getW().getAffineY(), 32) + "\"}";
    }
    if (keys.getPublic() instanceof RSAPublicKey rsa) {
      return "{\"kty\":\"RSA\",\"n\":\"" + number(rsa.getModulus(), 256)
          + "\",\"e\":\"" + number(rsa.getPublicExponent(), 3) + "\"}";
    }
    byte[] encoded = keys.getPublic().getEncoded(); // ends in the 32 bytes of the key
    byte[] x = Arrays.copyOfRange(encoded, encoded.length - 32, encoded.length);
    return "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" + base64.encodeToString(x) + "\"}";
  }

  static String number(BigInteger value, int size) {
    byte[] bytes = value.toByteArray();
    byte[] out = new byte[size];
    int from = Math.max(0, bytes.length - size);
    System.arraycopy(bytes, from, out, size - (bytes.length - from), bytes.length - from);
    return base64.encodeToString(out);
  }
}

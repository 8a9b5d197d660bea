/**
 * What FAPI 2.0 demands of an authorization server, by the numbers of the final texts: Security Profile (SP) and Message Signing
 * (MS). `modules` are those of the certification plans that play the clause; a test of such a name is a test of it.
 */
export interface Clause {
  /** As test titles name it. */
  readonly id: string;
  readonly demand: string;
  readonly modules?: readonly string[];
  /** Where it is met, of a clause that no test of ours could show. */
  readonly elsewhere?: string;
}

export const fapiClauses: readonly Clause[] = [
  { id: 'SP 5.2.1-1', demand: 'TLS alone, at every endpoint and for what is fetched' },
  { id: 'SP 5.2.1-2', demand: 'TLS 1.2 or later', modules: ['discovery-end-point-verification', 'happy-flow'] },
  { id: 'SP 5.2.1-3', demand: 'as BCP 195 recommends' },
  { id: 'SP 5.2.1-4', demand: 'DNSSEC (should)', elsewhere: 'the DNS of the deployment' },
  { id: 'SP 5.2.1-5', demand: 'certificates of servers are verified (RFC 9525)' },
  { id: 'SP 5.2.2-1', demand: 'TLS 1.2, endpoints that no browser uses: recommended cipher suites only' },
  { id: 'SP 5.2.2-2', demand: 'TLS 1.2, where we are the client: recommended cipher suites only (should)' },
  {
    id: 'SP 5.2.2.1',
    demand: 'ecosystems of mutual TLS: aliases of endpoints (may), and clients that are registered for them',
  },
  { id: 'SP 5.2.3-1', demand: 'browsers: no stripping of TLS' },
  { id: 'SP 5.2.3-2', demand: 'browsers, TLS 1.2: no deprecated cipher suites' },
  { id: 'SP 5.2.3-3', demand: 'no CORS at the authorization endpoint' },
  { id: 'SP 5.3.2.1-1', demand: 'metadata', modules: ['discovery-end-point-verification'] },
  { id: 'SP 5.3.2.1-2', demand: 'no password grant' },
  { id: 'SP 5.3.2.1-3', demand: 'confidential clients only' },
  { id: 'SP 5.3.2.1-4', demand: 'sender-constrained tokens only', modules: ['ensure-holder-of-key-required'] },
  { id: 'SP 5.3.2.1-5', demand: 'by mutual TLS or DPoP', modules: ['dpop-negative-tests', 'happy-flow'] },
  {
    id: 'SP 5.3.2.1-6',
    demand: 'clients authenticate by mutual TLS or private_key_jwt',
    modules: ['ensure-client-assertion-in-token-endpoint', 'ensure-client-id-in-token-endpoint'],
  },
  { id: 'SP 5.3.2.1-7', demand: 'no open redirectors' },
  {
    id: 'SP 5.3.2.1-8',
    demand: 'the audience of an assertion is the issuer, as a string',
    modules: [
      'par-test-array-as-audience-fails',
      'par-test-par-endpoint-url-as-audience-fails',
      'par-test-token-endpoint-url-as-audience-fails',
      'ensure-client-assertion-wrong-aud-fails',
    ],
  },
  { id: 'SP 5.3.2.1-9', demand: 'no rotation of refresh tokens', modules: ['refresh-token'] },
  { id: 'SP 5.3.2.1-10', demand: 'DPoP nonces (may)' },
  {
    id: 'SP 5.3.2.1-11',
    demand: 'codes live for 60 seconds at most',
    modules: ['ensure-token-endpoint-fails-with-expired-auth-code'],
  },
  {
    id: 'SP 5.3.2.1-12',
    demand: 'the code is bound to the DPoP key',
    modules: [
      'ensure-dpop-auth-code-binding-success',
      'ensure-dpopproof-at-par-endpoint-binding-success',
      'ensure-mismatched-dpop-jkt-fails',
      'ensure-token-endpoint-fails-with-mismatched-dpop-jkt',
      'ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt',
    ],
  },
  {
    id: 'SP 5.3.2.1-13',
    demand: 'clocks: 10 seconds ahead are accepted, more than 60 are not',
    modules: [
      'par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted',
      'par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails',
      'ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted',
      'ensure-dpopproof-with-iat-10seconds-before-succeeds',
      'ensure-dpopproof-with-iat-10seconds-after-succeeds',
    ],
  },
  { id: 'SP 5.3.2.1-14', demand: 'as few privileges as possible (should)' },
  {
    id: 'SP 5.3.2.2-1',
    demand: 'response_type code',
    modules: ['ensure-response-type-code-idtoken-fails', 'ensure-response-type-token-fails'],
  },
  { id: 'SP 5.3.2.2-2', demand: 'pushed requests of authenticated clients', modules: ['happy-flow'] },
  {
    id: 'SP 5.3.2.2-3',
    demand: 'no request that was not pushed',
    modules: ['ensure-unsigned-authorization-request-without-using-par-fails'],
  },
  { id: 'SP 5.3.2.2-4', demand: 'no pushed request without authentication' },
  {
    id: 'SP 5.3.2.2-5',
    demand: 'PKCE with S256',
    modules: [
      'par-ensure-pkce-required',
      'par-plain-pkce-rejected',
      'ensure-pkce-code-verifier-required',
      'incorrect-pkce-code-verifier-rejected',
    ],
  },
  {
    id: 'SP 5.3.2.2-6',
    demand: 'redirect_uri in pushed requests',
    modules: ['ensure-redirect-uri-in-authorization-request', 'ensure-request-object-without-redirect-uri-fails'],
  },
  { id: 'SP 5.3.2.2-7', demand: 'iss in responses (RFC 9207)', modules: ['happy-flow', 'user-rejects-authentication'] },
  { id: 'SP 5.3.2.2-8', demand: 'no response over http, but to native clients on loopback' },
  {
    id: 'SP 5.3.2.2-9',
    demand: 'no code is good twice',
    modules: ['attempt-reuse-authorization-code-after-one-second'],
  },
  { id: 'SP 5.3.2.2-10', demand: 'no redirect with 307 where credentials were sent' },
  { id: 'SP 5.3.2.2-11', demand: '303 for redirects (should)' },
  {
    id: 'SP 5.3.2.2-12',
    demand: 'request_uri: expires_in below 600 seconds',
    modules: ['par-attempt-to-use-expired-request_uri'],
  },
  { id: 'SP 5.3.2.2-13', demand: 'the person sees who asks, and for what (should)' },
  {
    id: 'SP 5.3.2.2-14',
    demand: 'nonce of 64 characters',
    modules: [
      'ensure-authorization-request-with-64-char-nonce-success',
      'ensure-authorization-request-with-long-nonce',
    ],
  },
  { id: 'SP 5.3.2.3-1', demand: 'who the person is, told by OpenID Connect alone' },
  {
    id: 'SP 5.4.1-1',
    demand: 'PS256, ES256 or EdDSA; never none',
    modules: [
      'ensure-signed-client-assertion-with-RS256-fails',
      'ensure-signed-request-object-with-RS256-fails',
      'ensure-request-object-signature-algorithm-is-not-none',
    ],
  },
  { id: 'SP 5.4.1-2', demand: 'RSA keys of 2048 bits at least' },
  { id: 'SP 5.4.1-3', demand: 'keys on elliptic curves of 224 bits at least' },
  { id: 'SP 5.4.1-4', demand: 'credentials of 128 bits at least' },
  { id: 'SP 5.4.2-1', demand: 'jwks_uri over TLS' },
  { id: 'SP 5.4.2-2', demand: 'no x5u, no jku (should not)' },
  { id: 'SP 5.4.2-3', demand: 'no two keys with one kid (should not)' },
  { id: 'SP 5.4.3-1', demand: 'of keys with one kid, the one that fits' },
  {
    id: 'MS 5.3.1-1',
    demand: 'signed requests: supported, required, verified',
    modules: [
      'ensure-unsigned-request-at-par-endpoint-fails',
      'ensure-request-object-with-invalid-signature-fails',
      'ensure-matching-key-in-authorization-request',
    ],
  },
  {
    id: 'MS 5.3.1-2',
    demand: 'aud of a request is the issuer, or holds it',
    modules: ['ensure-request-object-with-bad-aud-fails', 'ensure-request-object-with-multiple-aud-succeeds'],
  },
  {
    id: 'MS 5.3.1-3',
    demand: 'nbf of a request, no older than an hour',
    modules: ['ensure-request-object-without-nbf-fails', 'ensure-request-object-with-nbf-over-60-fails'],
  },
  {
    id: 'MS 5.3.1-4',
    demand: 'exp of a request, an hour after nbf at most',
    modules: [
      'ensure-request-object-without-exp-fails',
      'ensure-request-object-with-exp-over-60-fails',
      'ensure-expired-request-object-fails',
    ],
  },
  { id: 'MS 5.3.1-5', demand: 'typ oauth-authz-req+jwt is accepted' },
  { id: 'MS 5.4.1-1', demand: 'signed responses (JARM): supported, required, issued' },
  { id: 'MS 5.5.1-1', demand: 'signed introspection (RFC 9701)' },
];

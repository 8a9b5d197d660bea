/**
 * The cipher suites of TLS that we speak, as a server and as a client of others: what RFC 9325 §4.2 recommends, as FAPI 2.0 SP
 * §5.2.2 demands. TLS 1.3 has no others. In the words of OpenSSL.
 */
export const CIPHER_SUITES = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':');

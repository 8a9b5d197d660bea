/**
 * The certificate a caller proved to hold: from our own handshake, or in a header of the proxy that did the handshake
 * (RFC 9440; Envoy, nginx, HAProxy and others by their own forms).
 *
 * A header is no proof, so who may send one is decided by the network address at the other end of the connection and by
 * nothing that the request says: only a trusted proxy's counts, once, in exactly the form that is configured. From
 * everybody else it is not read, and the log says so. A trusted proxy's own certificate, in turn, is never the client's.
 *
 * Whether a certificate is of an authority we trust is found by us in both cases, so a proxy that hands on what it did
 * not verify opens nothing.
 */
import { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type { FastifyRequest } from 'fastify';
import type { CertificateHeader, Config } from '../config.ts';
import { OAuthError } from '../protocol/errors.ts';
import type { ClientCertificate } from '../protocol/message.ts';
import { addressTest } from './addresses.ts';

export type CertificateReader = (request: FastifyRequest, now: Date) => ClientCertificate | undefined;

/** Characters of a header's value. */
const LONGEST = 12_000;
/** RFC 5280 §4.2.1.12: for authenticating clients, or for anything. */
const CLIENT_PURPOSES = ['1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

/**
 * @param counts whether client certificates count at this door
 * @returns reads the certificate of a request; throws OAuthError `invalid_request` for a trusted proxy's header that is not
 *   what it should be
 */
export function certificateReader({ mutualTls, trustedProxies }: Config, counts: boolean): CertificateReader {
  if (!mutualTls) return () => undefined;
  const { header } = mutualTls;
  const authorities = mutualTls.authorities.map((pem) => new X509Certificate(pem));
  const isProxy = addressTest(trustedProxies);
  return (request, now) => {
    const { socket, headersDistinct } = request.raw;
    const values = header && headersDistinct[header.name];
    const proxied = isProxy(socket.remoteAddress);
    if (values && !(counts && proxied))
      request.log.warn({ requestId: request.id, peer: socket.remoteAddress }, `${header.name} does not count here`);
    if (!counts) return undefined;
    if (!proxied) return ofConnection(socket, authorities.length > 0);
    const certificate = header && values && ofHeader(values, header);
    return certificate && { der: certificate.raw, trusted: isIssuedBy(authorities, certificate, now) };
  };
}

function ofConnection(socket: unknown, authorities: boolean): ClientCertificate | undefined {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (!(socket instanceof TLSSocket) || !certificate) return undefined;
  return { der: certificate.raw, trusted: authorities && socket.authorized };
}

/**
 * Behind a proxy we have the client's certificate and nothing above it: it must be signed by one of the authorities
 * themselves (intermediate ones belong in the file), which may sign and are valid, and be made for clients if it says what for.
 */
function isIssuedBy(authorities: readonly X509Certificate[], certificate: X509Certificate, now: Date): boolean {
  const purposes: readonly string[] | undefined = certificate.keyUsage;
  if (purposes && !purposes.some((purpose) => CLIENT_PURPOSES.includes(purpose))) return false;
  return authorities.some(
    (authority) =>
      authority.ca &&
      Date.parse(authority.validFrom) <= now.getTime() &&
      now.getTime() <= Date.parse(authority.validTo) &&
      certificate.checkIssued(authority) &&
      certificate.verify(authority.publicKey),
  );
}

function ofHeader(values: readonly string[], { form }: CertificateHeader): X509Certificate | undefined {
  const [value = '', another] = values;
  // What a proxy sends where there is no certificate.
  if (another === undefined && value === '') return undefined;
  const der = another === undefined && value.length <= LONGEST ? forms[form](value) : undefined;
  const certificate = der && parse(der);
  if (!certificate) throw new OAuthError('invalid_request', 'The client certificate from the proxy is malformed.');
  return certificate;
}

/** Each gives the DER of the one certificate in a header's value, or `undefined` when it is anything else. */
const forms: Readonly<Record<CertificateHeader['form'], (value: string) => Buffer | undefined>> = {
  /** RFC 9440 §2.2, a byte sequence of RFC 8941 §3.3.5. */
  rfc9440: (value) => base64(/^:([A-Za-z0-9+/=]+):$/.exec(value)?.[1]),
  /** HAProxy, Traefik, Caddy. */
  base64,
  /** nginx (`$ssl_client_escaped_cert`), AWS. */
  pem: escapedPem,
  /** Envoy: one element (`SANITIZE_SET`), which has `Cert`. */
  xfcc: (value) => escapedPem(certificateOfElement(value)),
};

/** One pair of an element and what separates it from the next; a comma outside quotes would begin another hop's element. */
const PAIR = /([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(;|$)/y;

function certificateOfElement(element: string): string | undefined {
  const found: string[] = [];
  PAIR.lastIndex = 0;
  for (let end: string | undefined; end !== ''; ) {
    const [, key, quoted, bare, followed] = PAIR.exec(element) ?? [];
    if (followed === undefined) return undefined;
    if (key?.toLowerCase() === 'cert') found.push(quoted ?? bare ?? '');
    end = followed;
  }
  return found.length === 1 ? found[0] : undefined;
}

function base64(text: string | undefined): Buffer | undefined {
  const bytes = Buffer.from(text ?? '', 'base64');
  // Node's decoder skips what it does not know: two values would be one.
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined;
}

function escapedPem(value: string | undefined): Buffer | undefined {
  try {
    const pem = decodeURIComponent(value ?? '');
    return base64(
      /^-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----\s*$/
        .exec(pem)?.[1]
        ?.replace(/\r?\n/g, ''),
    );
  } catch {
    return undefined;
  }
}

function parse(der: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(der);
    // It reads PEM too, and stops where the certificate ends.
    return certificate.raw.equals(der) ? certificate : undefined;
  } catch {
    return undefined;
  }
}

/** The part of an HTTP request that speaks for its sender. */
import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

export interface PresentedRequest {
  readonly method: string;
  /** The request target as the client sent it (`/photos?size=2`): proofs name it, and a token in the query is refused. */
  readonly url: string;
  /** Every value of the Authorization header, as it arrived. */
  readonly authorization: readonly string[];
  /** Every value of the DPoP header. */
  readonly dpop: readonly string[];
  /**
   * The client's certificate. Whoever hands it in answers for the client having proved its key: by TLS, here or at a proxy
   * that removes from every request what says the same.
   */
  readonly certificate?: X509Certificate | undefined;
}

/**
 * What a request of Node.js presents, with the certificate of its own TLS connection.
 *
 * @param request of node:http, node:https or node:http2, with its `url` as the client sent it
 */
export function presentedRequest(request: IncomingMessage): PresentedRequest {
  // Not from `headers`: there Node.js drops all Authorization values but the first, and joins those of DPoP.
  const values = (wanted: string) =>
    request.rawHeaders.filter((_, index, all) => index % 2 === 1 && all[index - 1]?.toLowerCase() === wanted);
  // No certificate, and no function to ask for one, on plain http.
  const { getPeerX509Certificate } = request.socket as Partial<TLSSocket>;
  return {
    method: request.method ?? '',
    url: request.url ?? '',
    authorization: values('authorization'),
    dpop: values('dpop'),
    certificate: getPeerX509Certificate?.call(request.socket),
  };
}

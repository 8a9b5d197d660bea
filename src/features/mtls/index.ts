/**
 * Mutual TLS: RFC 8705. The client shows in the handshake that it holds the key of a certificate.
 *
 * - §2.1 `tls_client_auth`: the certificate is of an authority we trust and has the one name that the client registered.
 * - §2.2 `self_signed_tls_client_auth`: the certificate, or its key, is among the client's own keys; who signed it is nothing to us.
 * - §3 tokens are bound to the certificate (`cnf` with `x5t#S256`), whatever way the client authenticates, and even if it is
 *   a public one (§4). They are good on connections with just this certificate.
 * - §5 the same endpoints again at an address that asks for certificates, so that no browser is asked for one.
 *
 * Only a certificate that is valid now counts, for all of it: the handshake may be hours old.
 */
import { createPublicKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Client, ClientMetadata } from '../../protocol/client.ts';
import { searchKeys } from '../../protocol/client-keys.ts';
import type { ConfirmationMethod } from '../../protocol/confirmation.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { ClientAuthenticationMethod, Feature } from '../../protocol/feature.ts';
import type { ClientJwk } from '../../protocol/jose-client.ts';
import type { ClientCertificate, EndpointRequest } from '../../protocol/message.ts';
import { profileOf } from '../../protocol/profile.ts';
import { alternativeNames, isCurrent, thumbprint } from './certificate.ts';
import { nameOfSubject, parseName } from './distinguished-name.ts';

/** How certificates get here. */
export interface MutualTls {
  /** Whether there are authorities whose certificates are trusted. */
  readonly authorities: boolean;
  /** The origin of the endpoints' aliases, where they have one of their own. */
  readonly aliasOrigin: string | undefined;
}

/** @param mutualTls `undefined` where no certificate can get here: nothing is offered then */
export function mtls(mutualTls: MutualTls | undefined): Feature {
  return {
    name: 'mtls',
    clientMetadata,
    checkClientMetadata,
    ...(mutualTls && {
      clientAuthenticationMethods: [...(mutualTls.authorities ? [byAuthority] : []), selfSigned],
      confirmationMethods: [boundToCertificate],
      serverMetadata: ({ registries }: AuthorizationServer) => ({
        tls_client_certificate_bound_access_tokens: true,
        ...(mutualTls.aliasOrigin !== undefined && {
          mtls_endpoint_aliases: Object.fromEntries(
            registries.endpoints.flatMap(({ caller, path, metadata }) =>
              (caller === 'client' || caller === 'bearer') && metadata?.endsWith('_endpoint')
                ? [[metadata, mutualTls.aliasOrigin + path]]
                : [],
            ),
          ),
        }),
      }),
    }),
  };
}

/** RFC 8705 §2.1.2: the ways to name a certificate, of which a client registers one. */
const matchers: Readonly<Record<string, (certificate: X509Certificate, registered: string) => boolean>> = {
  tls_client_auth_subject_dn(certificate, registered) {
    const name = parseName(registered);
    return name !== undefined && nameOfSubject(certificate.subject) === name;
  },
  // A wildcard in the certificate is a name for servers; here it would let one client be another.
  tls_client_auth_san_dns: (certificate, registered) =>
    alternativeNames(certificate, 'DNS').some((name) => name.toLowerCase() === registered.toLowerCase()),
  tls_client_auth_san_uri: (certificate, registered) => alternativeNames(certificate, 'URI').includes(registered),
  // As numbers: one address has many spellings (RFC 5952 §2).
  tls_client_auth_san_ip: (certificate, registered) => certificate.checkIP(registered) !== undefined,
  tls_client_auth_san_email: (certificate, registered) => alternativeNames(certificate, 'email').includes(registered),
};

const MATCHERS = Object.keys(matchers);

const text = z.string().min(1).max(1000);
const HOST = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

const clientMetadata = {
  tls_client_auth_subject_dn: text
    .refine(
      (name) => parseName(name) !== undefined,
      'must be a distinguished name as in RFC 4514, like CN=app,O=Example,C=DE; attributes without a usual name by their object identifier',
    )
    .optional(),
  tls_client_auth_san_dns: text.regex(HOST, 'must be a host name').optional(),
  tls_client_auth_san_uri: text.regex(/^[a-z][a-z0-9+.-]*:[\x21-\x7E]+$/i, 'must be a URI').optional(),
  tls_client_auth_san_ip: text.refine((address) => isIP(address) !== 0, 'must be an IP address').optional(),
  tls_client_auth_san_email: text.regex(/^[\x21-\x3F\x41-\x7E]+@[a-z0-9.-]+$/i, 'must be an e-mail address').optional(),
  tls_client_certificate_bound_access_tokens: z.boolean().optional(),
  /** The client's own affair (FAPI 2.0 SP §5.2.2.1): kept, and served like any other. */
  use_mtls_endpoint_aliases: z.boolean().optional(),
};

function checkClientMetadata(metadata: ClientMetadata): { field: string; why: string } | undefined {
  const { token_endpoint_auth_method: method, jwks, jwks_uri, dpop_bound_access_tokens } = metadata;
  const [matcher, another] = MATCHERS.filter((name) => metadata[name] !== undefined);
  if (method === 'tls_client_auth') {
    if (matcher === undefined)
      return { field: 'tls_client_auth_subject_dn', why: `or another of ${MATCHERS.slice(1).join(', ')} is required` };
    if (another !== undefined)
      return { field: another, why: `and ${matcher} exclude each other (RFC 8705 section 2.1.2)` };
  } else if (matcher !== undefined) {
    // Whoever registers a name believes that it is checked.
    return { field: matcher, why: 'goes with token_endpoint_auth_method tls_client_auth' };
  }
  if (method === 'self_signed_tls_client_auth' && jwks === undefined && jwks_uri === undefined)
    return { field: 'jwks', why: 'or jwks_uri is required with self_signed_tls_client_auth (RFC 8705 section 2.2.2)' };
  if (metadata.tls_client_certificate_bound_access_tokens === true && dpop_bound_access_tokens === true)
    return {
      field: 'tls_client_certificate_bound_access_tokens',
      why: 'and dpop_bound_access_tokens exclude each other: a token is bound to one key',
    };
  return undefined;
}

const byAuthority = authenticationMethod('tls_client_auth', async (client, certificate, { trusted }) => {
  if (!trusted) return 'certificate not trusted by the authorities configured';
  const isNamed = MATCHERS.some((name) => {
    const registered = client.metadata[name];
    return typeof registered === 'string' && matchers[name]?.(certificate, registered) === true;
  });
  return isNamed ? undefined : 'the subject or alternative name of the certificate is not the registered one';
});

const selfSigned = authenticationMethod('self_signed_tls_client_auth', async (client, certificate, _shown, server) => {
  const keys = await searchKeys(client.metadata, (all) => all.filter((key) => isOf(certificate, key)), server);
  return keys.length > 0 ? undefined : 'the certificate is none of the registered keys';
});

/** A key with a certificate stands for that certificate only; one without for every certificate of it. RFC 7517 §4.7. */
function isOf(certificate: X509Certificate, { x5c, use, ...key }: ClientJwk): boolean {
  if (use === 'enc') return false;
  if (x5c !== undefined)
    return Array.isArray(x5c) && typeof x5c[0] === 'string' && Buffer.from(x5c[0], 'base64').equals(certificate.raw);
  try {
    return createPublicKey({ key, format: 'jwk' }).equals(certificate.publicKey);
  } catch {
    return false;
  }
}

/**
 * RFC 8705 §2: `client_id` says who, the certificate proves it.
 * @param objection why the certificate does not prove it, for the log; `undefined` when it does
 */
function authenticationMethod(
  name: string,
  objection: (
    client: Client,
    certificate: X509Certificate,
    shown: ClientCertificate,
    server: AuthorizationServer,
  ) => Promise<string | undefined>,
): ClientAuthenticationMethod {
  return {
    name,
    implicit: true,
    absence: 'no certificate presented (is this the mTLS address?)',
    claims({ certificate: shown, parameters, now, trace }: EndpointRequest) {
      const clientId = parameters.get('client_id');
      if (!shown || clientId === undefined) return undefined;
      return {
        clientId,
        async prove(client, server) {
          const certificate = new X509Certificate(shown.der);
          const current = isCurrent(certificate, now);
          if (!client) return undefined;
          const why = current
            ? await objection(client, certificate, shown, server)
            : 'the certificate has expired or is not valid yet';
          if (why === undefined) return [];
          trace.reason = why;
          return undefined;
        },
      };
    },
  };
}

const boundToCertificate: ConfirmationMethod = {
  name: 'mtls',
  async prove(request, { client, accessToken }, server) {
    const { certificate, now } = request;
    if (!certificate) return undefined;
    const used = accessToken !== undefined;
    if (!used && client && !isToBeBound(client, request, server)) return undefined;
    if (!isCurrent(new X509Certificate(certificate.der), now))
      throw new OAuthError(
        used ? 'invalid_token' : 'invalid_request',
        'The client certificate has expired or is not valid yet.',
      );
    return { cnf: { 'x5t#S256': thumbprint(certificate.der) }, tokenType: 'Bearer', marks: [], headers: {} };
  },
};

/** §3.4; or the profile wants tokens bound, and the client shows nothing else to bind them to. */
function isToBeBound({ metadata }: Client, { dpop }: EndpointRequest, { profile }: AuthorizationServer): boolean {
  if (metadata.tls_client_certificate_bound_access_tokens === true) return true;
  const boundElsewhere = metadata.dpop_bound_access_tokens === true || dpop.length > 0;
  return !boundElsewhere && profileOf({ metadata }, profile).requiresSenderConstraint;
}

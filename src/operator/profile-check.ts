/**
 * `gatehouse profile check`: what a profile demands of the server and of a client, clause by clause, and whether it holds.
 *
 * What is checked is what would run: the registries as this configuration assembles them, the configured values, and the keys
 * and resources as they are stored. How requests are treated is not asked here: that is what tests show (docs/clauses.md).
 */
import type { ClientCertificates } from '../config.ts';
import type { StoredKey } from '../features/key-rotation/index.ts';
import type { ClientMetadata } from '../protocol/client.ts';
import type { Profile } from '../protocol/profile.ts';
import { clausesOf, profileRules } from '../protocol/profile-rules.ts';
import type { Registries } from '../protocol/registries.ts';
import type { ResourceMetadata } from '../protocol/resource.ts';

/** One clause, and how it was found. */
export interface Finding {
  /** The profile it was checked against. */
  readonly profile: string;
  readonly clause: string;
  readonly demand: string;
  readonly holds: boolean;
  /** What has to change: the variable, or the client's field, and why. Empty where the clause holds. */
  readonly problem: string;
}

/** A server, as it is configured and stored. */
export interface CheckedServer {
  readonly issuer: string;
  /** Whether TLS ends here, or at a proxy that is known. */
  readonly tls: boolean;
  readonly sessionManagement: boolean;
  /** The configured profile, which its registries were assembled for. */
  readonly profile: Profile;
  readonly registries: Registries;
  readonly keys: readonly Pick<StoredKey, 'kid' | 'alg' | 'publicJwk' | 'archivedAt'>[];
  readonly resources: readonly ResourceMetadata[];
}

interface ServerRule {
  readonly clause: string;
  readonly demand: string;
  problem(server: CheckedServer, demanded: Profile): string | undefined;
}

const MIN_RSA_BITS = 2048;

/** In the order of the clauses. As with clients (profile-rules.ts), a lax profile demands little. */
const serverRules: readonly ServerRule[] = [
  {
    clause: 'OAuth 2.1 1.5, FAPI 2.0 SP 5.2.1-1',
    demand: 'https, by its own TLS or by a proxy that is known',
    problem({ issuer, tls }) {
      if (!issuer.startsWith('https:'))
        return `GATEHOUSE_ISSUER: ${issuer} is good for development on this machine only`;
      return tls ? undefined : 'GATEHOUSE_TLS_CERT: set it with its key, or GATEHOUSE_TRUSTED_PROXIES';
    },
  },
  {
    clause: 'FAPI 2.0 SP 5.2.3-3',
    demand: 'no browser code of clients: no CORS, no session frame',
    problem({ profile, sessionManagement }, { browserClients }) {
      if (browserClients) return undefined;
      if (profile.browserClients) return `GATEHOUSE_PROFILE: ${profile.name} serves browser code`;
      return sessionManagement ? 'GATEHOUSE_SESSION_MANAGEMENT: must be off or unset' : undefined;
    },
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-1',
    demand: 'metadata by OpenID Connect Discovery and RFC 8414',
    problem({ registries }) {
      const served = new Set(registries.endpoints.map(({ path }) => path));
      return missing(
        ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'].filter(
          (path) => !served.has(path),
        ),
      );
    },
  },
  {
    clause: 'OAuth 2.1 4, FAPI 2.0 SP 5.3.2.1-2',
    demand: 'only grants of the profile',
    problem: ({ profile, registries }, { grantTypes }) => beyond(profile, registries.grantTypes.keys(), grantTypes),
  },
  {
    clause: 'OAuth 2.1 2.4, FAPI 2.0 SP 5.3.2.1-3, 5.3.2.1-6',
    demand: 'only client authentication by methods of the profile',
    problem: ({ profile, registries }, { clientAuthenticationMethods: methods }) =>
      beyond(profile, registries.clientAuthenticationMethods.keys(), methods),
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-4, 5.3.2.1-5',
    demand: 'tokens that are bound to a key, by DPoP or mutual TLS',
    problem: ({ profile, registries }, { requiresSenderConstraint }) =>
      requiresSenderConstraint && (!profile.requiresSenderConstraint || registries.confirmationMethods.size === 0)
        ? `GATEHOUSE_PROFILE: ${profile.name} gives tokens that are bound to nothing`
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-8',
    demand: 'assertions addressed to the issuer, as a string',
    problem: ({ profile }, { assertionAudience }) =>
      assertionAudience === 'the issuer as a string' && profile.assertionAudience !== assertionAudience
        ? `GATEHOUSE_PROFILE: ${profile.name} takes other audiences`
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-9',
    demand: 'refresh tokens that stay',
    problem: ({ profile }, { rotateRefreshTokensOf }) =>
      rotateRefreshTokensOf === 'nobody' && profile.rotateRefreshTokensOf !== 'nobody'
        ? `GATEHOUSE_PROFILE: ${profile.name} replaces those of ${profile.rotateRefreshTokensOf}`
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-11',
    demand: 'codes that live for a minute at most',
    problem: ({ profile }, { lifetimes }) =>
      profile.lifetimes.authorizationCode <= lifetimes.authorizationCode
        ? undefined
        : `GATEHOUSE_PROFILE: ${profile.name} gives them ${profile.lifetimes.authorizationCode} seconds`,
  },
  {
    clause: 'OAuth 2.1 4.1, FAPI 2.0 SP 5.3.2.2-1',
    demand: 'no response type but code',
    problem: ({ profile, registries }) => beyond(profile, registries.responseTypes.keys(), ['code']),
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.2-2, 5.3.2.2-3',
    demand: 'requests that are pushed',
    problem({ profile, registries }, { requiresPushedRequests }) {
      if (!requiresPushedRequests) return undefined;
      if (!profile.requiresPushedRequests) return `GATEHOUSE_PROFILE: ${profile.name} takes requests from browsers`;
      return missing(registries.endpoints.some(({ path }) => path === '/par') ? [] : ['/par']);
    },
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.2-5',
    demand: 'PKCE for every client',
    problem: ({ profile }, { pkceMayBeWaived }) =>
      !pkceMayBeWaived && profile.pkceMayBeWaived
        ? `GATEHOUSE_PROFILE: ${profile.name} lets clients do without`
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.2-8',
    demand: 'https redirect URIs, but for loopback ones of native clients',
    problem: ({ profile }, { loopbackRedirectsOf }) =>
      loopbackRedirectsOf === 'native clients' && profile.loopbackRedirectsOf !== loopbackRedirectsOf
        ? `GATEHOUSE_PROFILE: ${profile.name} takes http ones on loopback of ${profile.loopbackRedirectsOf}`
        : undefined,
  },
  {
    clause: 'RFC 8725 3.2, FAPI 2.0 SP 5.4.1-1',
    demand: 'algorithms of the profile for everything signed',
    problem({ profile, resources }, { signingAlgs, clientSigningAlgs }) {
      const wrong = resources.find(({ signing_alg: alg }) => alg !== undefined && !signingAlgs.includes(alg));
      if (wrong) return `the resource ${wrong.resource}: its signing_alg ${wrong.signing_alg} is none of the profile`;
      return (
        beyond(profile, profile.signingAlgs, signingAlgs) ??
        beyond(profile, profile.clientSigningAlgs, clientSigningAlgs)
      );
    },
  },
  {
    clause: 'RFC 7518 3.3, FAPI 2.0 SP 5.4.1-2',
    demand: 'RSA keys of 2048 bits at least',
    problem({ keys }) {
      const short = keys.find(({ publicJwk: { n } }) => n !== undefined && bitsOf(n) < MIN_RSA_BITS);
      return short && `the key ${short.kid}: run \`gatehouse keys rotate --compromised\``;
    },
  },
  {
    clause: 'JARM 4, FAPI 2.0 MS 5.4.1',
    demand: 'response modes of the profile, signed ones among them',
    problem: ({ profile, registries }, { responseModes }) =>
      beyond(profile, registries.responseModes.keys(), responseModes) ??
      missing(registries.responseModes.has('jwt') ? [] : ['response_mode jwt']),
  },
  {
    clause: 'FAPI 2.0 MS 5.3.1',
    demand: 'request objects',
    problem: ({ registries }, { requiresMessageSigning }) =>
      missing(requiresMessageSigning && !registries.requestSources.has('request') ? ['the parameter request'] : []),
  },
  {
    clause: 'FAPI 2.0 MS 5.5.1',
    demand: 'signed introspection',
    problem: ({ registries }, { requiresMessageSigning }) =>
      missing(
        requiresMessageSigning && !Object.hasOwn(registries.clientMetadata.shape, 'introspection_signed_response_alg')
          ? ['introspection_signed_response_alg']
          : [],
      ),
  },
  {
    clause: 'FAPI 2.0 MS 5.3.1, 5.4.1, 5.5.1',
    demand: 'clients that sign requests, or have responses or introspection signed',
    problem: ({ profile }, { requiresMessageSigning }) =>
      requiresMessageSigning && !profile.requiresMessageSigning
        ? `GATEHOUSE_PROFILE: ${profile.name} does not ask it of them`
        : undefined,
  },
];

/** @param demanded what the server is held to: its own profile, or another one */
export function checkServer(server: CheckedServer, demanded: Profile): Finding[] {
  return serverRules.flatMap(({ clause, demand, problem }) =>
    finding(clause, demand, problem(server, demanded), demanded),
  );
}

/**
 * @param demanded what the client is held to
 * @param certificates what client certificates get to the server
 */
export function checkClient(metadata: ClientMetadata, demanded: Profile, certificates: ClientCertificates): Finding[] {
  const unreached = certificateProblem(metadata, certificates);
  return [
    ...profileRules.flatMap(({ clause, demand, problem }) => {
      const found = problem(metadata, demanded);
      return finding(clause, demand, found && `${found.field}: ${found.why}`, demanded);
    }),
    // No profile's demand: without them it is never let in.
    ...(wantsCertificates(metadata)
      ? [found('RFC 8705 2, 3', 'client certificates that get to the server', unreached, demanded)]
      : []),
  ];
}

const BY_CERTIFICATE: readonly unknown[] = ['tls_client_auth', 'self_signed_tls_client_auth'];

function wantsCertificates({ token_endpoint_auth_method: method, ...rest }: ClientMetadata): boolean {
  return BY_CERTIFICATE.includes(method) || rest.tls_client_certificate_bound_access_tokens === true;
}

/** Why a client that shows certificates would not get anywhere with them, as the server is configured; `undefined` when it would. */
export function certificateProblem(metadata: ClientMetadata, certificates: ClientCertificates): string | undefined {
  const { token_endpoint_auth_method: method } = metadata;
  if (!wantsCertificates(metadata)) return undefined;
  const field = BY_CERTIFICATE.includes(method)
    ? `token_endpoint_auth_method: ${method}`
    : 'tls_client_certificate_bound_access_tokens:';
  const needed = [
    ...(certificates === 'none' ? ['GATEHOUSE_TLS_CERT or GATEHOUSE_CLIENT_CERT_HEADER'] : []),
    ...(certificates !== 'all' && method === 'tls_client_auth' ? ['GATEHOUSE_MTLS_CA'] : []),
  ];
  return needed.length === 0 ? undefined : `${field} needs a server with ${needed.join(', and ')}`;
}

/** Nothing where the profile does not demand it: a clause that nobody has to meet is not met either. */
function finding(clause: string, demand: string, problem: string | undefined, demanded: Profile): Finding[] {
  const own = clausesOf(clause, demanded);
  return own === undefined && problem === undefined ? [] : [found(own ?? clause, demand, problem, demanded)];
}

function found(clause: string, demand: string, problem: string | undefined, { name: profile }: Profile): Finding {
  return { profile, clause, demand, holds: problem === undefined, problem: problem ?? '' };
}

function beyond(profile: Profile, offered: Iterable<string>, allowed: readonly string[]): string | undefined {
  const more = [...offered].filter((name) => !allowed.includes(name));
  return more.length === 0 ? undefined : `GATEHOUSE_PROFILE: ${profile.name} offers ${more.join(', ')}`;
}

function missing(names: readonly string[]): string | undefined {
  return names.length === 0 ? undefined : `not offered here: ${names.join(', ')}`;
}

function bitsOf(modulus: string): number {
  const hex = Buffer.from(modulus, 'base64url').toString('hex').replace(/^0+/, '');
  return BigInt(`0x0${hex}`).toString(2).length;
}

/**
 * What a profile demands of a client, clause by clause: asked when a client is registered or changed, and told in full by
 * `gatehouse profile check`. What a profile demands of the server is not here: it is what is assembled (feature.ts) and done.
 */
import type { ClientMetadata } from './client.ts';
import { clientSigningAlgs } from './jose-client.ts';
import { type Profile, profiles } from './profile.ts';
import { isLoopback, parseUrl } from './redirect-uri.ts';

export interface ProfileRule {
  /** Where it is written. */
  readonly clause: string;
  readonly demand: string;
  /** The field of the client that has to change, and why; `undefined` when the rule holds. */
  problem(metadata: ClientMetadata, profile: Profile): { readonly field: string; readonly why: string } | undefined;
}

const SIGNED_BY_US = [
  'id_token_signed_response_alg',
  'userinfo_signed_response_alg',
  'authorization_signed_response_alg',
  'introspection_signed_response_alg',
];
const SIGNED_BY_CLIENTS = ['token_endpoint_auth_signing_alg', 'request_object_signing_alg'];

/** In the order of the clauses. They hold for every profile: a lax one demands little. */
export const profileRules: readonly ProfileRule[] = [
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-2',
    demand: 'only grants of the profile',
    problem: ({ grant_types: types }, { grantTypes }) =>
      listed(types).every((type) => grantTypes.includes(type))
        ? undefined
        : { field: 'grant_types', why: `holds one that the profile does not have (it has ${grantTypes.join(', ')})` },
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-3, 5.3.2.1-6',
    demand: 'a confidential client that authenticates by a method of the profile',
    problem: ({ token_endpoint_auth_method: method }, { clientAuthenticationMethods: methods }) =>
      methods.some((name) => name === method)
        ? undefined
        : { field: 'token_endpoint_auth_method', why: `is none of the profile (it has ${methods.join(', ')})` },
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-8',
    demand: 'assertions addressed to the issuer alone',
    problem: ({ assertion_audience: audience }, { assertionAudience }) =>
      audience === 'issuer_or_endpoint' && assertionAudience === 'the issuer as a string'
        ? { field: 'assertion_audience', why: 'is the issuer in this profile' }
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.2-5',
    demand: 'PKCE',
    problem: ({ require_pkce: required, token_endpoint_auth_method: method }, { pkceMayBeWaived }) =>
      required === false && (method === 'none' || !pkceMayBeWaived)
        ? { field: 'require_pkce', why: 'is not to be had without, for public clients and in this profile' }
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.2-8',
    demand: 'https redirect URIs, but for loopback ones of native clients',
    problem: ({ redirect_uris: uris, application_type: type }, { loopbackRedirectsOf }) => {
      const plain = listed(uris).some((uri) => {
        const url = parseUrl(uri);
        return url?.protocol === 'http:' && isLoopback(url);
      });
      return plain && loopbackRedirectsOf === 'native clients' && type !== 'native'
        ? { field: 'redirect_uris', why: 'may be http for native clients only' }
        : undefined;
    },
  },
  {
    clause: 'FAPI 2.0 SP 5.4.1-1',
    demand: 'algorithms of the profile for everything signed',
    problem: (metadata, profile) =>
      wrongAlg(metadata, SIGNED_BY_US, profile.signingAlgs) ??
      wrongAlg(metadata, SIGNED_BY_CLIENTS, clientSigningAlgs(profile)),
  },
  {
    clause: 'JARM 4, FAPI 2.0 MS 5.3.3',
    demand: 'response modes of the profile',
    problem: ({ response_modes: modes }, { responseModes }) =>
      listed(modes).every((mode) => responseModes.includes(mode))
        ? undefined
        : {
            field: 'response_modes',
            why: `holds one that the profile does not have (it has ${responseModes.join(', ')})`,
          },
  },
  {
    clause: 'FAPI 2.0 MS 5.3.1, 5.4.1, 5.5.1',
    demand: 'signed requests, signed responses or signed introspection: at least one of them',
    problem: (metadata, { requiresMessageSigning }) =>
      !requiresMessageSigning || signsMessages(metadata)
        ? undefined
        : {
            field: 'require_signed_request_object',
            why: 'or response_modes (jwt only) or introspection_signed_response_alg must be set in this profile',
          },
  },
];

/** Everything else demands more than this one, which knows all that any of them knows. */
const [laxest] = profiles;

/**
 * What of a client contradicts the profile it is held to.
 * @param only the one field to look at; without it, the first that is wrong
 * @returns the field that has to change, and why: with the clause where it is the profile that leaves something out, without it
 *   where no profile has it
 */
export function contradiction(
  metadata: ClientMetadata,
  profile: Profile,
  only?: string,
): { readonly field: string; readonly why: string } | undefined {
  for (const { clause, problem } of profileRules) {
    const found = problem(metadata, profile);
    if (!found || (only !== undefined && found.field !== only)) continue;
    const isEverywhere = laxest !== undefined && problem(metadata, laxest)?.field === found.field;
    return isEverywhere ? found : { ...found, why: `${found.why} (${clause})` };
  }
  return undefined;
}

function signsMessages(metadata: ClientMetadata): boolean {
  const modes = listed(metadata.response_modes);
  return (
    metadata.require_signed_request_object === true ||
    (modes.length > 0 && modes.every((mode) => mode.endsWith('jwt'))) ||
    metadata.introspection_signed_response_alg !== undefined
  );
}

function wrongAlg(metadata: ClientMetadata, fields: readonly string[], algs: readonly string[]) {
  const field = fields.find((name) => metadata[name] !== undefined && !algs.some((alg) => alg === metadata[name]));
  return field === undefined ? undefined : { field, why: `is no algorithm of the profile (it has ${algs.join(', ')})` };
}

function listed(value: unknown): readonly string[] {
  return Array.isArray(value) ? value : [];
}

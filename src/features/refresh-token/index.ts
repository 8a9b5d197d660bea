/**
 * Refresh tokens: RFC 6749 §6, OAuth 2.1 §4.3, RFC 9700 §4.14.
 *
 * A confidential client is bound by its authentication and keeps its token. A public client's token is replaced at each
 * use:
 *
 *   current ──first use──▶ rotated, keeping its one successor sealed
 *                             ├── again within the window ──▶ the same successor, a new access token
 *                             └── again after it ──▶ reuse: somebody has a copy; the whole grant ends
 *
 * The successor is sealed under the presented token's own secret and a key of ours, so only its bearer can open it, and
 * only here; and a retry, a second
 * tab or fifty parallel requests all end with the same refresh token: nobody is logged out by a lost answer.
 */

import { z } from 'zod';
import type { Authorization } from '../../protocol/authorization.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Client, isPublic } from '../../protocol/client.ts';
import { type Confirmation, confirms } from '../../protocol/confirmation.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature, GrantType, Minted, TokenRequest } from '../../protocol/feature.ts';
import { profileOf } from '../../protocol/profile.ts';
import { claimMarks, marksOf, type ReplayMark } from '../../protocol/replay.ts';
import { type Credential, deriveKey, parseCredential, seal, unseal } from '../../protocol/secrets.ts';

export interface HeldRefreshToken {
  readonly authorization: Omit<Authorization, 'client'>;
  readonly clientId: string;
  /** The key a public client must show (RFC 9449 §5). */
  readonly cnf: Confirmation | undefined;
  readonly expiresAt: Date;
  readonly lastUsedAt: Date;
  readonly rotatedAt: Date | undefined;
  readonly successor: Buffer | undefined;
  readonly stands: boolean;
}

export interface RefreshTokens {
  find(token: Credential, now: Date): Promise<HeldRefreshToken | undefined>;
  /** Replaces a current token; one statement, two where somebody holds it; exactly one winner. */
  rotate(token: Credential, successor: Buffer, minted: Minted, now: Date): Promise<'rotated' | 'lost' | ReplayMark>;
  /** Stores a new access token of a token that stays; extends its idle time to `expiresAt`, written once an hour at most. */
  use(token: Credential, minted: Minted, expiresAt: Date, now: Date): Promise<'used' | 'lost' | ReplayMark>;
  /** Ends the grant of a token that was used again. */
  revokeReused(grantId: string, now: Date): Promise<void>;
}

/** Milliseconds. Last use is written at most this often. */
export const TOUCH_EVERY = 3600 * 1000;

/** Seconds. The store keeps refresh tokens and grants for 120 days: nothing may be promised for longer. */
const LIFETIME_MOST = 120 * 86_400;

const clientMetadata = {
  /** How long a grant can be refreshed in all, however often; rotation never extends it. */
  refresh_token_lifetime: z.number().int().min(60).max(LIFETIME_MOST).optional(),
};

export function refreshToken({ refreshTokens }: { refreshTokens: RefreshTokens }): Feature {
  return {
    name: 'refresh-token',
    grantTypes: [refreshGrant(refreshTokens)],
    clientMetadata,
    serverMetadata: () => ({ scopes_supported: ['offline_access'] }), // OpenID Connect Core §11
  };
}

function refreshGrant(store: RefreshTokens): GrantType {
  return {
    name: 'refresh_token',
    async verify(request, server) {
      const { parameters, client, now, possession } = request;
      const text = parameters.get('refresh_token');
      if (text === undefined) throw new OAuthError('invalid_request', 'refresh_token is required.');
      const token = parseCredential('refresh_token', text);
      const held = token && (await store.find(token, now));
      if (!token || held?.clientId !== client.id || !held.stands) throw refused();
      // Before the reuse of a rotated one is looked at: whoever lacks the key can end nobody's grant.
      if (held.cnf && !confirms(possession, held.cnf)) throw refused();
      if (held.rotatedAt) {
        const successor = await retry(token, held, request, marksOf(request), store, server);
        return {
          authorization: { ...held.authorization, client },
          newRefreshToken: false,
          spend: retried(store, successor, request, server),
        };
      }
      if (held.expiresAt <= now) throw refused();
      const rotates = rotatesFor(client, server);
      return {
        authorization: { ...held.authorization, client },
        newRefreshToken: rotates,
        spend: rotates ? rotated(store, token, request, server) : kept(store, token, held, request, server),
      };
    },
  };
}

function rotatesFor(client: Client, server: AuthorizationServer): boolean {
  return profileOf(client, server.profile).rotateRefreshTokensOf === 'public clients' && isPublic(client);
}

type Spend = (minted: Minted) => Promise<{ refreshToken?: string }>;

/**
 * A confidential client's token stays: with the time of its last use on record, and no proof to use up, all there is to
 * write is the access token, and of a signed one nothing.
 */
function kept(
  store: RefreshTokens,
  token: Credential,
  held: HeldRefreshToken,
  { now }: TokenRequest,
  server: AuthorizationServer,
): Spend {
  return async (minted) => {
    if (minted.marks.length === 0 && now.getTime() - held.lastUsedAt.getTime() <= TOUCH_EVERY) {
      await server.ledger.record(minted.accessToken, []);
      return {};
    }
    const idle = now.getTime() + server.profile.lifetimes.refreshTokenIdle * 1000;
    const expiresAt = new Date(Math.min(idle, held.authorization.expiresAt?.getTime() ?? idle));
    const outcome = await store.use(token, minted, expiresAt, now);
    if (outcome === 'lost') throw refused();
    if (outcome !== 'used') throw outcome.refusal;
    return {};
  };
}

/** A public client's token is replaced; whoever loses the race gets the winner's successor. */
function rotated(store: RefreshTokens, token: Credential, request: TokenRequest, server: AuthorizationServer): Spend {
  return async (minted) => {
    if (!minted.refreshToken) throw new Error('a rotation mints a refresh token');
    const sealed = seal(
      sealingKey(token, server),
      Buffer.from(minted.refreshToken.value),
      token.id,
      server.context.random,
    );
    const outcome = await store.rotate(token, sealed, minted, request.now);
    if (outcome === 'rotated') return {};
    if (outcome !== 'lost') throw outcome.refusal;
    const held = await store.find(token, request.now);
    if (!held?.stands || !held.rotatedAt) throw refused();
    // Its marks were claimed by the statement that lost.
    const successor = await retry(token, held, request, [], store, server);
    return retried(store, successor, request, server)({ ...minted, marks: [], refreshToken: undefined });
  };
}

/** Within the window: nothing changes but one more access token. */
function retried(
  store: RefreshTokens,
  successor: { value: string; token: Credential },
  { now }: TokenRequest,
  server: AuthorizationServer,
): Spend {
  return async (minted) => {
    const idle = new Date(now.getTime() + server.profile.lifetimes.refreshTokenIdle * 1000);
    const outcome = await store.use(successor.token, minted, idle, now);
    if (typeof outcome === 'object') throw outcome.refusal;
    return { refreshToken: successor.value };
  };
}

/**
 * Opens the successor of a rotated token.
 * @param marks to be claimed before anything is ended: a request that was caught, and is sent again as it was, ends nothing
 * @throws OAuthError after the window, when the grant has been ended, or a mark was used before
 */
async function retry(
  token: Credential,
  held: HeldRefreshToken,
  { now, trace }: TokenRequest,
  marks: readonly ReplayMark[],
  store: RefreshTokens,
  server: AuthorizationServer,
): Promise<{ value: string; token: Credential }> {
  const age = now.getTime() - (held.rotatedAt?.getTime() ?? 0);
  if (age <= server.profile.lifetimes.refreshRetryWindow * 1000 && held.successor) {
    const value = unseal(sealingKey(token, server), held.successor, token.id)?.toString();
    const successor = parseCredential('refresh_token', value);
    if (value !== undefined && successor) return { value, token: successor };
  }
  await claimMarks(marks, server.replayMarks);
  trace.event = 'refresh_token_reused';
  await store.revokeReused(held.authorization.grantId ?? '', now);
  throw refused();
}

/**
 * Of the token's secret, so that only its bearer can open it, and of a key of ours, so that an old token and a look into the
 * database do not lead to the current one.
 */
function sealingKey(token: Credential, server: AuthorizationServer): Buffer {
  return deriveKey(Buffer.concat([token.secret, server.sharedKeys.successors]), token.id, 'refresh token successor');
}

function refused(): OAuthError {
  return new OAuthError('invalid_grant', 'The refresh token is not valid, or not for this client.');
}

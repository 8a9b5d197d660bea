/**
 * THE list: every capability one line, in the order its registrations are asked. Adding a feature is a folder and a line
 * here; deleting it is the same. Only here do rooms meet their SQL.
 */

import { postgresAccess } from './features/account/access.pg.ts';
import { account } from './features/account/index.ts';
import { postgresCodes } from './features/authorization-code/codes.pg.ts';
import { authorizationCode } from './features/authorization-code/index.ts';
import { authorizationEndpoint } from './features/authorization-endpoint/index.ts';
import { postgresDeliveries } from './features/backchannel-logout/deliveries.pg.ts';
import { backchannelLogout } from './features/backchannel-logout/index.ts';
import { clientCredentials } from './features/client-credentials/index.ts';
import { clientSecret } from './features/client-secret/index.ts';
import { postgresConsents } from './features/consent/consents.pg.ts';
import { consent } from './features/consent/index.ts';
import { discovery } from './features/discovery/index.ts';
import { dpop } from './features/dpop/index.ts';
import { formPost } from './features/form-post/index.ts';
import { frontchannelLogout } from './features/frontchannel-logout/index.ts';
import { introspection } from './features/introspection/index.ts';
import { jar } from './features/jar/index.ts';
import { jarm } from './features/jarm/index.ts';
import { jwtBearer } from './features/jwt-bearer/index.ts';
import { keyAlgs, keyRotation } from './features/key-rotation/index.ts';
import { postgresKeys } from './features/key-rotation/keys.pg.ts';
import { postgresAttempts } from './features/login/attempts.pg.ts';
import { login } from './features/login/index.ts';
import { logout } from './features/logout/index.ts';
import { type MutualTls, mtls } from './features/mtls/index.ts';
import { par } from './features/par/index.ts';
import { postgresPushedRequests } from './features/par/pushed-requests.pg.ts';
import { privateKeyJwt } from './features/private-key-jwt/index.ts';
import { publicClient } from './features/public-client/index.ts';
import { refreshToken } from './features/refresh-token/index.ts';
import { postgresRefreshTokens } from './features/refresh-token/refresh-tokens.pg.ts';
import { revocation } from './features/revocation/index.ts';
import { selectAccount } from './features/select-account/index.ts';
import { sessionManagement } from './features/session-management/index.ts';
import { tokenEndpoint } from './features/token-endpoint/index.ts';
import { tokenExchange } from './features/token-exchange/index.ts';
import { userinfo } from './features/userinfo/index.ts';
import { guardedPost } from './outgoing/guarded-fetch.ts';
import type { Sql } from './postgres/database.ts';
import type { Feature } from './protocol/feature.ts';
import type { KeyEncryption } from './protocol/key-encryption.ts';
import type { Profile } from './protocol/profile.ts';
import type { Passwords } from './protocol/secrets.ts';

/** What rooms are built from. */
export interface Parts {
  readonly database: Sql;
  readonly profile: Profile;
  readonly passwords: Passwords;
  readonly cookieKeys: readonly Buffer[];
  readonly encryption: KeyEncryption;
  readonly sessionManagement: boolean;
  readonly dpopNonce: boolean;
  readonly mutualTls: MutualTls | undefined;
  /** Tests only: requests to clients may go to this machine. */
  readonly allowLoopbackFetch: boolean;
}

export type FeatureLine = (parts: Parts) => Feature;

export const features: readonly FeatureLine[] = [
  () => clientSecret(), //                                                                      RFC 6749 §2.3.1
  ({ profile }) => privateKeyJwt(profile), //                                                     RFC 7523, OpenID Connect Core §9
  () => publicClient(), //                                                                      OAuth 2.1 §2.1
  ({ mutualTls }) => mtls(mutualTls), //                                                        RFC 8705
  () => authorizationEndpoint(), //                                                             RFC 6749 §3.1
  () => tokenEndpoint(), //                                                                     RFC 6749 §3.2
  ({ database }) => authorizationCode({ codes: postgresCodes(database) }), //                   RFC 6749 §4.1, RFC 7636
  ({ profile }) => jar(profile), //                                                             RFC 9101
  ({ profile }) => jarm(profile), //                                                              JARM
  () => formPost(), //                                                                          OAuth 2.0 Form Post Response Mode
  ({ database }) => par({ pushedRequests: postgresPushedRequests(database) }), //                RFC 9126
  ({ database }) => refreshToken({ refreshTokens: postgresRefreshTokens(database) }), //        RFC 6749 §6
  () => clientCredentials(), //                                                                 RFC 6749 §4.4
  () => tokenExchange(), //                                                                     RFC 8693
  () => jwtBearer(), //                                                                         RFC 7523 §2.1
  ({ dpopNonce }) => dpop({ demandsNonce: dpopNonce }), //                                      RFC 9449
  ({ profile }) => introspection(profile), //                                                   RFC 7662, RFC 9701
  () => revocation(), //                                                                        RFC 7009
  ({ profile }) => userinfo({ algs: profile.signingAlgs }), //                                  OpenID Connect Core §5.3
  () => discovery(), //                                                                         RFC 8414, RFC 7517
  ({ database, profile, encryption }) =>
    keyRotation({ keys: postgresKeys(database), algs: keyAlgs(profile), encryption }), // OpenID Connect Core §10.1.1
  ({ database, passwords, cookieKeys }) => login({ attempts: postgresAttempts(database), passwords, cookieKeys }), // Core §3.1.2.3
  () => selectAccount(), //                                                                     Core §3.1.2.1
  ({ database }) => consent({ consents: postgresConsents(database) }), //                       Core §3.1.2.4
  () => logout(), //                                                                            RP-Initiated Logout
  ({ database, allowLoopbackFetch: allowLoopback }) =>
    backchannelLogout({
      deliveries: postgresDeliveries(database),
      post: (uri, form) => guardedPost(uri, form, { timeout: 5000, allowLoopback }),
    }), //                                                                                      Back-Channel Logout
  () => frontchannelLogout(), //                                                                Front-Channel Logout
  ({ profile, sessionManagement: on }) => sessionManagement({ on: on && profile.browserClients }), //                                  Session Management
  ({ database }) => account({ access: postgresAccess(database) }),
];

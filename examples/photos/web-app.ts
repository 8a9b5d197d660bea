/**
 * The web app: a confidential client. People sign in at Gatehouse (OpenID Connect, authorization code with PKCE), and the
 * app then shows them their photos, which it fetches from the photos API with the access token it was given.
 *
 * The browser never sees a token that opens anything: it holds the cookie of a session, and the tokens are kept with that
 * on the server. What a user of openid-client has to do for a sign-in is all in `/login` and `/callback`, for a sign-out in
 * `/logout`.
 */
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import * as client from 'openid-client';
import { type ClientSettings, discoverGatehouse } from './gatehouse.ts';
import { html } from './html.ts';
import { drawPicture } from './pictures.ts';
import { type Account, beginSignIn, isCsrfTokenOf, Sessions, type Tokens, takeSignIn } from './sessions.ts';
import { listenOn, stopping, whenStartedDirectly } from './settings.ts';
import { serveSpa } from './spa-pages.ts';
import type { Told } from './story.ts';
import { storySection } from './story-section.ts';
import { albumPage, homeLink, homePage, messagePage, type PhotoWithPicture, signInLink } from './web-pages.ts';

export interface WebAppSettings extends ClientSettings {
  readonly port: number;
  /** Where browsers find the app; `<origin>/callback` is its registered redirect URI, `<origin>/` that for signing out. */
  readonly origin: string;
  /** Where the photos API is, which is its identifier too. */
  readonly photosApi: string;
  /** The client id of the browser-only app, which is served from here. */
  readonly spaClientId: string;
}

/** Thrown where only a new sign-in helps: the tokens are spent, or Gatehouse has taken them back. */
class SignInNeeded extends Error {}

const COOKIE = 'photos_session';

export async function startWebApp(settings: WebAppSettings) {
  const { issuer, origin, port, photosApi } = settings;
  const gatehouse = await discoverGatehouse(settings);
  // ID tokens come straight from Gatehouse, so over https their signature could go unchecked (OpenID Connect Core
  // §3.1.3.7). It is checked all the same: it costs nothing, and the demo speaks http.
  client.enableNonRepudiationChecks(gatehouse);

  const sessions = new Sessions();
  const sessionOf = (request: FastifyRequest) => sessions.find(request.cookies[COOKIE]);
  const setCookie = (reply: FastifyReply, id: string) =>
    // Lax, not strict: the cookie must come along when Gatehouse sends the browser back to /callback.
    reply.setCookie(COOKIE, id, { path: '/', httpOnly: true, sameSite: 'lax', secure: origin.startsWith('https:') });

  const app = Fastify(stopping);
  await app.register(cookie);
  await app.register(formbody);
  // Signing out ends with a redirect to Gatehouse, and browsers hold form-action against redirects as well.
  const formTargets = `'self' ${new URL(issuer).origin}`;
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers({
      'content-security-policy': `default-src 'none'; style-src 'self'; img-src 'self' data:; form-action ${formTargets}; base-uri 'none'; frame-ancestors 'none'`,
      'referrer-policy': 'no-referrer', // the code of /callback must not travel on in a Referer
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
  });
  const show = (reply: FastifyReply, page: { readonly text: string }) => reply.type('text/html').send(page.text);

  app.get('/', async (request, reply) => show(reply, homePage(sessionOf(request))));
  app.get('/hero.svg', async (_request, reply) => reply.type('image/svg+xml').send(drawPicture('still-lake')));
  await serveSpa(app, settings);

  app.get('/login', async (request, reply) => {
    const session = sessionOf(request) ?? sessions.start();
    const state = client.randomState(); // finds this sign-in again; a stranger's answer fits none
    const nonce = client.randomNonce(); // binds the ID token to this sign-in
    const codeVerifier = client.randomPKCECodeVerifier(); // a stolen code is worth nothing without it
    beginSignIn(session, state, { nonce, codeVerifier });
    const url = client.buildAuthorizationUrl(gatehouse, {
      redirect_uri: `${origin}/callback`,
      scope: 'openid profile email photos.read',
      resource: photosApi,
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
    });
    return setCookie(reply, session.id).redirect(url.href, 303);
  });

  app.get('/callback', async (request, reply) => {
    const url = new URL(request.url, origin);
    const session = sessionOf(request);
    const state = url.searchParams.get('state');
    const signIn = takeSignIn(session, state);
    if (session === undefined || state === null || signIn === undefined) {
      const text = 'It was started in another browser, or too long ago.';
      return show(reply.code(400), messagePage(session, 'This sign-in is not known here', text, signInLink));
    }
    // Checks state and iss (RFC 9207) of the answer, redeems the code, checks the ID token.
    const granted = await client.authorizationCodeGrant(
      gatehouse,
      url,
      {
        expectedState: state,
        expectedNonce: signIn.nonce,
        pkceCodeVerifier: signIn.codeVerifier,
        idTokenExpected: true,
      },
      { resource: photosApi },
    );
    const { id_token: idToken } = granted;
    const sub = granted.claims()?.sub;
    if (idToken === undefined || sub === undefined) throw new Error('no ID token');
    const person = await client.fetchUserInfo(gatehouse, granted.access_token, sub);
    const name = person.name ?? person.preferred_username ?? sub;
    // A new session with a new name: whoever knew the old one, or planted it, is not signed in.
    sessions.end(session);
    const signedIn = sessions.start({ sub, name, email: person.email, idToken, tokens: tokensOf(granted) });
    return setCookie(reply, signedIn.id).redirect('/photos', 303);
  });

  app.get('/photos', async (request, reply) => {
    const session = sessionOf(request);
    if (session?.account === undefined) return reply.redirect('/', 303);
    const [{ photos }, { told }] = await Promise.all([
      fetchFromPhotos<{ photos: PhotoWithPicture[] }>(session.account, '/photos'),
      fetchFromPhotos<{ told: Told[] }>(session.account, '/story'),
    ]);
    return show(reply, albumPage(session, photos, storySection(session.account, told)));
  });

  app.post<{ Body: { csrf?: unknown } | undefined }>('/logout', async (request, reply) => {
    const session = sessionOf(request);
    if (session === undefined) return reply.redirect('/', 303);
    if (!isCsrfTokenOf(session, request.body?.csrf)) {
      const text = 'Use the button on our own page.';
      return show(reply.code(403), messagePage(session, 'You were not signed out', text, homeLink));
    }
    sessions.end(session);
    reply.clearCookie(COOKIE, { path: '/' });
    const refreshToken = session.account?.tokens.refreshToken;
    // Whatever happens to the revocation (RFC 7009), people who sign out of here are out of here.
    if (refreshToken !== undefined) await client.tokenRevocation(gatehouse, refreshToken).catch(report);
    if (session.account === undefined) return reply.redirect('/', 303);
    // The session at Gatehouse is another one. The ID token says whose it is, so nobody is asked again (RP-Initiated Logout).
    const url = client.buildEndSessionUrl(gatehouse, {
      id_token_hint: session.account.idToken,
      post_logout_redirect_uri: `${origin}/`,
    });
    return reply.redirect(url.href, 303);
  });

  async function fetchFromPhotos<Answer>(account: Account, path: string): Promise<Answer> {
    if (account.tokens.expiresAt < Date.now()) {
      account.refreshing ??= refresh(account).finally(() => {
        account.refreshing = undefined;
      });
      await account.refreshing;
    }
    const response = await fetch(new URL(path, photosApi), {
      headers: { authorization: `Bearer ${account.tokens.accessToken}` },
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 401) throw new SignInNeeded();
    if (!response.ok) throw new Error(`the photos API answered ${response.status}`);
    return (await response.json()) as Answer;
  }

  async function refresh(account: Account): Promise<void> {
    const { refreshToken } = account.tokens;
    if (refreshToken === undefined) throw new SignInNeeded();
    try {
      const granted = await client.refreshTokenGrant(gatehouse, refreshToken, { resource: photosApi });
      // Gatehouse may send another refresh token; without one, the old one goes on.
      account.tokens = tokensOf(granted, refreshToken);
    } catch (error) {
      // RFC 6749 §5.2: the grant has ended: signed out at Gatehouse, withdrawn, or too old.
      if (error instanceof client.ResponseBodyError && error.error === 'invalid_grant') throw new SignInNeeded();
      throw error;
    }
  }

  app.setErrorHandler(async (error, request, reply) => {
    const session = sessionOf(request);
    if (error instanceof SignInNeeded) {
      if (session !== undefined) sessions.end(session);
      const page = messagePage(undefined, 'Please sign in again', 'Your last sign-in has ended.', signInLink);
      return show(reply.code(401).clearCookie(COOKIE, { path: '/' }), page);
    }
    if (error instanceof client.AuthorizationResponseError) {
      // The code is one of a few words, but it came by way of the address bar: shown as text, never as more.
      const text = `Gatehouse said: ${error.error}`;
      return show(reply.code(400), messagePage(session, 'You are not signed in', text, signInLink));
    }
    report(error);
    const again = html`<a class="button" href="/photos">Try again</a>`;
    return show(
      reply.code(502),
      messagePage(session, 'That did not work', 'Something behind this page failed.', again),
    );
  });

  await app.listen({ host: listenOn, port });
  return { close: () => app.close() };
}

/** Messages only: the errors themselves hold the codes and tokens they are about, which belong in no log. */
function report(error: unknown): void {
  for (let cause = error; cause instanceof Error; cause = cause.cause) console.error(`${cause.name}: ${cause.message}`);
}

/** @param refreshToken the one that was used, which stays in use when no other is sent */
function tokensOf(
  granted: client.TokenEndpointResponse & client.TokenEndpointResponseHelpers,
  refreshToken?: string,
): Tokens {
  return {
    accessToken: granted.access_token,
    refreshToken: granted.refresh_token ?? refreshToken,
    // A few seconds early, for the way to the API.
    expiresAt: Date.now() + ((granted.expiresIn() ?? 60) - 5) * 1000,
  };
}

await whenStartedDirectly(import.meta.url, async ({ webApp }) => {
  await startWebApp(webApp);
  console.log(`The web app listens at ${webApp.origin}`);
});

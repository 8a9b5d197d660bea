// The browser-only app: a public client. It has no secret, for a browser cannot keep one; what protects its code is PKCE.
// Nothing but fetch and WebCrypto is used, so that every step of the flow can be read here.
//
// Tokens live in a variable of this page and nowhere else: a reload forgets them, and Gatehouse, where you are still
// signed in, gives new ones without asking again.

let settings; // the issuer, our client id, where the API is
let gatehouse; // the issuer's metadata
let tokens;

const element = (id) => document.getElementById(id);
const say = (text) => {
  element('status').textContent = text;
};

// OpenID Connect Discovery: where the endpoints are. The document must be that of the issuer we trust (§4.3).
async function discover(issuer) {
  const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  if (metadata.issuer !== issuer) throw new Error('This is the metadata of another issuer');
  return metadata;
}

// Step 1, RFC 6749 §4.1.1: send the browser to Gatehouse, with the hash of a secret that stays here (RFC 7636).
async function authorize() {
  const state = random();
  const codeVerifier = random();
  sessionStorage.setItem('authorization', JSON.stringify({ state, codeVerifier }));
  const url = new URL(gatehouse.authorization_endpoint);
  const request = {
    response_type: 'code',
    client_id: settings.clientId,
    redirect_uri: settings.redirectUri,
    scope: 'photos.read',
    resource: settings.photosApi, // the API the token is for (RFC 8707)
    state,
    code_challenge: await sha256(codeVerifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(request)) url.searchParams.set(name, value);
  location.assign(url);
}

// Step 2, RFC 6749 §4.1.2: Gatehouse sends the browser back with a code.
async function redeem(answer) {
  const begun = JSON.parse(sessionStorage.getItem('authorization') ?? 'null');
  sessionStorage.removeItem('authorization');
  // An answer to a question this tab did not ask may be an attacker's, who wants us to use their account (§10.12).
  if (begun === null || answer.get('state') !== begun.state) throw new Error('This answer was not asked for here');
  // RFC 9207: an answer of another server must not make us send our code to this one.
  if (answer.get('iss') !== settings.issuer) throw new Error('This answer is of another issuer');
  if (answer.has('error')) throw new Error(`Gatehouse said: ${answer.get('error')}`);
  await askForTokens({
    grant_type: 'authorization_code',
    code: answer.get('code'),
    redirect_uri: settings.redirectUri,
    code_verifier: begun.codeVerifier,
  });
}

// Step 3, RFC 6749 §4.1.3 and §6: the code, and later the refresh token, for an access token.
async function askForTokens(grant) {
  const response = await fetch(gatehouse.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({ client_id: settings.clientId, resource: settings.photosApi, ...grant }),
  });
  const answer = await response.json();
  if (!response.ok) {
    tokens = undefined;
    throw new Error(`Gatehouse gave no token: ${answer.error}`);
  }
  // A refresh token is used once: the next one comes with the answer. Without one, the old one goes on.
  tokens = { accessToken: answer.access_token, refreshToken: answer.refresh_token ?? grant.refresh_token };
}

// Step 4, RFC 6750: the photos, straight from the API.
async function showPhotos() {
  const response = await fetch(`${settings.photosApi}/photos`, {
    headers: { authorization: `Bearer ${tokens.accessToken}` },
  });
  if (!response.ok) throw new Error(`The photos API answered ${response.status}`);
  const { photos } = await response.json();
  element('album').replaceChildren(...photos.map(card));
  say(`${photos.length} photos, fetched at ${new Date().toLocaleTimeString()}`);
}

// The refresh button: a new access token, then the photos again.
async function refresh() {
  if (tokens.refreshToken === undefined) throw new Error('There is no refresh token');
  await askForTokens({ grant_type: 'refresh_token', refresh_token: tokens.refreshToken });
  await showPhotos();
}

// Texts are set as texts, never as HTML: a title with a tag in it stays a title.
function card({ title, place, picture }) {
  const image = Object.assign(document.createElement('img'), {
    src: `data:image/svg+xml,${encodeURIComponent(picture)}`,
    alt: title,
    width: 720,
    height: 480,
  });
  const caption = document.createElement('figcaption');
  caption.append(
    Object.assign(document.createElement('strong'), { textContent: title }),
    ' ',
    Object.assign(document.createElement('span'), { textContent: place }),
  );
  const figure = document.createElement('figure');
  figure.append(image, caption);
  const item = document.createElement('li');
  item.append(figure);
  return item;
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function sha256(text) {
  return base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

// Runs one step at a time, says what went wrong, and shows the buttons that make sense afterwards.
async function run(step) {
  element('sign-in').hidden = true;
  element('refresh').disabled = true;
  try {
    await step();
  } catch (error) {
    say(error.message);
  }
  element('sign-in').hidden = gatehouse === undefined || tokens !== undefined;
  element('refresh').hidden = tokens === undefined;
  element('refresh').disabled = false;
}

element('sign-in').addEventListener('click', () => run(authorize));
element('refresh').addEventListener('click', () => run(refresh));

await run(async () => {
  settings = await (await fetch('/spa/settings.json')).json();
  gatehouse = await discover(settings.issuer);
  if (location.pathname !== '/spa/callback') return say('This page may not see your photos yet.');
  const answer = new URLSearchParams(location.search);
  history.replaceState(null, '', '/spa'); // the code is spent in a moment: keep it out of history and bookmarks
  await redeem(answer);
  await showPhotos();
});

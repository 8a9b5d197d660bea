/** The pages of the web app. Nothing here is about OAuth. */
import { type Html, html } from './html.ts';
import type { Session } from './sessions.ts';

/** A photo as the photos API gives it; `picture` is an SVG document. */
export interface PhotoWithPicture {
  readonly title: string;
  readonly place: string;
  readonly picture: string;
}

export function homePage(session: Session | undefined): Html {
  return page(
    'Photos',
    session,
    html`<section class="hero">
      <div>
        <h1>Your photos, and nobody else’s.</h1>
        <p>Photos keeps your album. Gatehouse knows who you are: sign in there, and Photos may show you what is yours.</p>
        ${
          session?.account === undefined
            ? html`<p><a class="button" id="sign-in" href="/login">Sign in with Gatehouse</a></p>`
            : html`<p><a class="button" href="/photos">Open your album</a></p>`
        }
        <p class="aside">There is also <a href="/spa">an app that lives in the browser alone</a>.</p>
      </div>
      <img src="/hero.svg" alt="" width="720" height="480">
    </section>`,
  );
}

export function albumPage(session: Session, photos: readonly PhotoWithPicture[], story: Html | undefined): Html {
  return page(
    'Your album',
    session,
    html`<h1>Your album</h1>
      <p class="count">${photos.length} photos</p>
      <ul class="album" id="album">${photos.map(
        ({ title, place, picture }) => html`
        <li><figure>
          <img src="${imageUrl(picture)}" alt="${title}" width="720" height="480">
          <figcaption><strong>${title}</strong> <span>${place}</span></figcaption>
        </figure></li>`,
      )}
      </ul>
      ${story}`,
  );
}

/** A page that only says something, with the way to go on. */
export function messagePage(session: Session | undefined, title: string, text: string, link: Html): Html {
  return page(title, session, html`<section class="message"><h1>${title}</h1><p>${text}</p><p>${link}</p></section>`);
}

export const signInLink: Html = html`<a class="button" id="sign-in" href="/login">Sign in with Gatehouse</a>`;
export const homeLink: Html = html`<a class="button" href="/">Back to the start</a>`;

/** As an image: a browser runs no script in it and lets it load nothing, wherever the SVG came from. */
function imageUrl(svg: string): string {
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function page(title: string, session: Session | undefined, main: Html): Html {
  const account = session?.account;
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${title}</title>
  <link rel="stylesheet" href="/photos.css">
  <link rel="icon" href="data:,">
</head>
<body>
  <header>
    <a class="brand" href="/">Photos</a>
    ${
      account === undefined
        ? undefined
        : html`<form method="post" action="/logout">
      <span id="who" title="${account.email}">${account.name}</span>
      <input type="hidden" name="csrf" value="${session?.csrfToken}">
      <button id="sign-out">Sign out</button>
    </form>`
    }
  </header>
  <main>
    ${main}
  </main>
</body>
</html>
`;
}

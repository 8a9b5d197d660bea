/**
 * The scripts of the product, all of them. The edge allows each by its SHA-256 in `script-src` on the page that has it, so
 * no other one can run.
 *
 * They hold none of `& < > " '`, so a view prints them escaped like everything else and the bytes stay these. The first two
 * are for every browser there is, without anything a decade old engine would not know.
 */

/** Sends the form of `form-post`. */
export const FORM_POST_SCRIPT = 'document.forms[0].submit()';

/**
 * Follows the link of `frontchannel-logout` when every frame has loaded, or when one does not for five seconds. A refresh
 * in the head cannot do the second: browsers count its seconds from when all has loaded.
 */
export const GO_ON_SCRIPT = `
var late = setTimeout(goOn, 5000);
window.onload = goOn;
function goOn() {
  clearTimeout(late);
  window.location.replace(document.links[0].href);
}
`;

/**
 * Answers a client's page (Session Management 1.0 §3.2): has what its `session_state` was made of stayed the same?
 *
 *   session_state = hex(SHA-256(client_id ‖ ' ' ‖ origin ‖ ' ' ‖ browser state ‖ ' ' ‖ salt)) ‖ '.' ‖ salt
 *
 * The origin is the one the browser says the question came from, and the answer goes there and nowhere else. A digest is
 * to be had on https and localhost only; elsewhere the answer is `error`, and the client asks us by `prompt=none`.
 */
export const CHECK_SESSION_SCRIPT = `
var cookie = document.currentScript.dataset.cookie;
window.addEventListener(\`message\`, function (event) {
  function answer(word) {
    event.source.postMessage(word, event.origin);
  }
  if (event.origin === \`null\` || !event.source) return;
  var asked = String(event.data).split(\` \`);
  var salt = asked.length === 2 ? asked[1].split(\`.\`)[1] : undefined;
  if (!salt || !window.crypto.subtle) return answer(\`error\`);
  var pair = document.cookie.split(\`; \`).find(function (each) {
    return each.indexOf(cookie + \`=\`) === 0;
  });
  var state = pair ? pair.slice(cookie.length + 1) : \`\`;
  var text = [asked[0], event.origin, state, salt].join(\` \`);
  window.crypto.subtle.digest(\`SHA-256\`, new TextEncoder().encode(text)).then(function (digest) {
    var hex = Array.from(new Uint8Array(digest), function (byte) {
      return (byte + 256).toString(16).slice(1);
    });
    answer(hex.join(\`\`) + \`.\` + salt === asked[1] ? \`unchanged\` : \`changed\`);
  });
});
`;

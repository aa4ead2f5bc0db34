// A function: how many of the page's audio elements cannot be played.
async () => {
  function broken(audio) {
    if (audio.readyState > 1) return false;
    return new Promise(done => {
      audio.oncanplay = () => done(false);
      audio.onerror = () => done(true);
      audio.load();
    });
  }
  const all = await Promise.all([...document.querySelectorAll('audio')].map(broken));
  return all.filter(b => b).length;
}

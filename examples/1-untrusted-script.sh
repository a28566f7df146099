# A script that somebody sent: it may do what it likes with the files it sees.
cd "$(mktemp -d -p /var/tmp)"
trap 'rm -r "$PWD"' EXIT
echo precious > notes.txt
cat > script.sh <<'S'
echo "cleaning up a little"
rm -rf ./* ~/* 2>/dev/null
echo "files left: $(ls | wc -l)"
S
gvisor-exec -- sh script.sh
echo "on the host: $(cat notes.txt)"

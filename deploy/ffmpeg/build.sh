#!/bin/sh
# Builds FFmpeg's libraries for a program that carries them: static, with the containers and codecs that rewardrt opens
# (runtime/src/media/video/libav/open.rs) and nothing else. The licence of the result is LGPL 2.1 or later, and BSD for dav1d.
#
#     deploy/ffmpeg/build.sh PREFIX
#     PKG_CONFIG_PATH=PREFIX/lib/pkgconfig cargo build --release -p rewardrt-cli --features static-video
#
# Sources are Debian's, so that what is decoded is what Debian's shared libraries decode, and their security fixes come
# from where the base image's come. apt checks their signatures. Needs apt, dpkg-dev, gcc, make, nasm, meson, ninja, pkg-config.
set -eu

[ $# = 1 ] || { echo "usage: $0 PREFIX" >&2; exit 2; }
mkdir -p "$1"
PREFIX=$(cd "$1" && pwd)
JOBS=${JOBS:-$(nproc)}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM

DEMUXERS=mov,matroska,avi,gif,apng
DECODERS=h264,hevc,vp8,vp9,libdav1d,mpeg4,mjpeg,gif,apng,png
PARSERS=h264,hevc,vp8,vp9,av1,mpeg4video,mjpeg,gif,png

# The machine's own package sources, read as sources of sources; nothing of the machine's apt is changed.
mkdir -p "$WORK/parts" "$WORK/lists/partial"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case "$file" in
    *.list) sed -n 's/^deb /deb-src /p' "$file" ;;
    *) continue ;;
    esac
done 2>/dev/null | grep -i debian >"$WORK/parts/source.list" || true
for file in /etc/apt/sources.list.d/debian*.sources; do
    [ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$WORK/parts/$(basename "$file")"
done

apt() {
    apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$WORK/parts" \
        -o Dir::State::lists="$WORK/lists" -o APT::Sandbox::User=root "$@"
}

apt update
cd "$WORK"
apt source dav1d ffmpeg
ls -- *.dsc >"$PREFIX/SOURCES"

export PKG_CONFIG_PATH="$PREFIX/lib/pkgconfig"
cd "$WORK"/dav1d-*/
meson setup build --prefix="$PREFIX" --libdir=lib --buildtype=release --default-library=static \
    -Denable_tools=false -Denable_tests=false -Dbitdepths=8,16 >"$WORK/dav1d.log"
ninja -C build -j "$JOBS" install >>"$WORK/dav1d.log" || { tail -30 "$WORK/dav1d.log" >&2; exit 1; }

cd "$WORK"/ffmpeg-*/
# The debian folder's own flags are not used: nothing but what is named here is built.
./configure --prefix="$PREFIX" --libdir="$PREFIX/lib" --disable-everything --disable-autodetect --disable-programs --disable-doc \
    --disable-network --disable-avdevice --disable-avfilter --disable-swresample --disable-postproc \
    --disable-debug --enable-pic --enable-swscale --enable-libdav1d --pkg-config-flags=--static \
    --enable-demuxer="$DEMUXERS" --enable-decoder="$DECODERS" --enable-parser="$PARSERS" --enable-zlib \
    >"$WORK/configure.log" || { tail -30 "$WORK/configure.log" >&2; exit 1; }
grep '^License' "$WORK/configure.log"
make -j "$JOBS" install >"$WORK/make.log" 2>&1 || { tail -30 "$WORK/make.log" >&2; exit 1; }
cp COPYING.LGPLv2.1 "$PREFIX/LICENSE-FFmpeg"
cp "$WORK"/dav1d-*/COPYING "$PREFIX/LICENSE-dav1d"
echo "ffmpeg: $PREFIX is ready, made of $(tr '\n' ' ' <"$PREFIX/SOURCES")"

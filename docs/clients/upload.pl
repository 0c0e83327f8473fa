# usage: perl upload.pl http://127.0.0.1:8000 photo.jpg Pancakes
use strict;
use warnings;
use HTTP::Request::Common qw(POST $DYNAMIC_FILE_UPLOAD);
use LWP::UserAgent;

my ($url, $photo, $label) = @ARGV;

$DYNAMIC_FILE_UPLOAD = 1;    # stream the file
my $response = LWP::UserAgent->new->request(
    POST "$url/recipe",
    Content_Type => 'form-data',
    Content      => [label => $label, photo => [$photo]],
);
print $response->content;
exit($response->code == 201 ? 0 : 1);
